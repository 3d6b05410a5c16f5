-- How often each part was evaluated: for this run, for all runs on the same split, and for how many control runs.
with known as (
    select *,
    from evaluations
    union all by name
    select null::text as as_of, -- a registry of an earlier version lacks it
    where false
)

select
    evaluations.part,
    count(*) filter (where evaluations.run_id = $run_id) as times,
    count(*) filter (where runs.control is null) as times_on_split,
    count(distinct evaluations.run_id) filter (where runs.control is null) as runs,
    count(distinct evaluations.run_id) filter (where runs.control is not null) as controls,
    max(evaluations.scored_at) filter (where evaluations.run_id = $run_id and evaluations.as_of is null) as last_scored_at,
    arg_max(evaluations.unresolved, evaluations.scored_at)
        filter (where evaluations.run_id = $run_id and evaluations.as_of is null) as unresolved,
from known as evaluations
inner join runs on runs.run_id = evaluations.run_id
where runs.split_id = (select split_id from runs where run_id = $run_id)
group by evaluations.part
order by evaluations.part;
