-- What each reviewer said of a queue's cases.
select
    coalesce(reviewer, 'not known') as reviewer,
    count(*) filter (where outcome = 'confirmed') as confirmed,
    count(*) filter (where outcome = 'changed') as changed,
    count(*) filter (where outcome = 'rejected') as rejected,
    count(*) filter (where outcome = 'unresolved') as unresolved,
    count(*) filter (where outcome = 'cannot_tell') as cannot_tell,
from queue_outcomes
where queue_id = $queue and outcome <> 'untouched'
group by all
order by reviewer;
