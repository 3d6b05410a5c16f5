-- The scores over all classes and of each class of the run that was finished before this one and was scored too.
-- Predictions of a file have none before them but those of the same model, and a model of one's own none of a file.
with known as (
    select *,
    from runs
    union all by name
    select null::text as replicate_of, null::text as source_sha256, -- a registry of an earlier version lacks them
    where false
),

own as (
    select *,
    from known
    where run_id = $run_id
),

previous as (
    select known.run_id, known.split_id, known.finished_at
    from known
    semi join scores on scores.run_id = known.run_id
    cross join own
    where
        known.control is null
        and known.replicate_of is null
        and known.run_id <> own.run_id
        and (known.finished_at, known.run_id) < (own.finished_at, own.run_id)
        and (known.source_sha256 is null) = (own.source_sha256 is null)
        and (own.source_sha256 is null or known.model = own.model)
    order by known.finished_at desc, known.run_id desc
    limit 1
)
select
    previous.run_id,
    previous.split_id = own.split_id as same_split,
    scores.part,
    scores.metric,
    scores.class_name,
    scores.value,
from scores
inner join previous on previous.run_id = scores.run_id
cross join own
order by scores.part, scores.metric, scores.class_name;
