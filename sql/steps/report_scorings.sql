-- How often each part was scored: by this run, and by every run on the same split.
select
    evaluations.part,
    count(*) filter (where evaluations.run_id = $run_id) as times,
    count(*) as times_on_split,
    count(distinct evaluations.run_id) as runs,
    max(evaluations.scored_at) filter (where evaluations.run_id = $run_id) as last_scored_at,
    arg_max(evaluations.unresolved, evaluations.scored_at)
        filter (where evaluations.run_id = $run_id) as unresolved,
from evaluations
inner join runs on runs.run_id = evaluations.run_id
where runs.split_id = (select split_id from runs where run_id = $run_id)
group by evaluations.part
order by evaluations.part;
