-- The runs, newest first, how far each has come, and whether the labels have changed since.
with known as (
    select *,
    from runs
    union all by name
    select null::text as replicate_of, null::text as source_sha256, -- a registry of an earlier version lacks them
    where false
),

scorings as (
    select *,
    from evaluations
    union all by name
    select null::text as as_of, -- a registry of an earlier version lacks it
    where false
)

select
    runs.run_id,
    runs.split_id,
    runs.model,
    runs.control,
    runs.control_of,
    runs.replicate_of,
    runs.source_sha256,
    runs.truth_id <> label_states.truth_id
    and runs.source_sha256 is null
    and exists (from splits where splits.split_id = runs.split_id and splits.part = 'train') as stale,
    (select count(*) from predictions where predictions.run_id = runs.run_id) as predicted,
    (
        select count(*)
        from scorings
        where scorings.run_id = runs.run_id and scorings.truth_id = label_states.truth_id and scorings.as_of is null
    ) as scored,
    (select max(scored_at) from scorings where scorings.run_id = runs.run_id and scorings.as_of is null) as scored_at,
from known as runs
cross join label_states
order by runs.finished_at desc, runs.run_id;
