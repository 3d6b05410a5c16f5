-- What became of the cases of each review queue, oldest queue first.
select
    queues.queue_id,
    queues.made_at,
    count(outcomes.case_id) as cases,
    count(*) filter (where outcome = 'confirmed') as confirmed,
    count(*) filter (where outcome = 'changed') as changed,
    count(*) filter (where outcome = 'rejected') as rejected,
    count(*) filter (where outcome = 'unresolved') as unresolved,
    count(*) filter (where outcome = 'cannot_tell') as cannot_tell,
    count(*) filter (where outcome = 'untouched') as untouched,
from queues
left join queue_outcomes as outcomes on outcomes.queue_id = queues.queue_id
group by queues.queue_id, queues.made_at
order by queues.made_at, queues.queue_id;
