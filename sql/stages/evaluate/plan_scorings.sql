-- The scorings of a part by the runs on a run's split, controls and replicates aside, up to that run's own last one; oldest first.
select
    evaluations.run_id,
    evaluations.truth_id,
    evaluations.as_of,
    evaluations.plan_sha256,
    runs.model,
    runs.control,
from evaluations
inner join runs on runs.run_id = evaluations.run_id
where
    runs.split_id = (select split_id from runs where run_id = $run_id)
    and runs.control is null
    and (runs.replicate_of is null or runs.run_id = $run_id)
    and evaluations.part = $part
    and evaluations.scored_at <= (
        select max(scored_at)
        from evaluations
        where run_id = $run_id
    )
order by evaluations.scored_at, evaluations.run_id;
