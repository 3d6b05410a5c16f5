-- The scores over all classes and of each class of the run that was finished before this one and was scored too.
with known as (
    select *,
    from runs
    union all by name
    select null::text as replicate_of, -- a registry of an earlier version lacks it
    where false
),

previous as (
    select runs.run_id, runs.split_id, runs.finished_at
    from known as runs
    semi join scores on scores.run_id = runs.run_id
    where
        runs.control is null
        and runs.replicate_of is null
        and runs.run_id <> $run_id
        and (runs.finished_at, runs.run_id) < (
            select (finished_at, run_id) from runs where run_id = $run_id
        )
    order by runs.finished_at desc, runs.run_id desc
    limit 1
)
select
    previous.run_id,
    previous.split_id = (select split_id from runs where run_id = $run_id) as same_split,
    scores.part,
    scores.metric,
    scores.class_name,
    scores.value,
from scores
inner join previous on previous.run_id = scores.run_id
order by scores.part, scores.metric, scores.class_name;
