-- A queue, and the cases and patients it was chosen from.
select queue_id, made_at, truth_id, patients, cases,
from queues
where $queue in (queue_id, 'latest')
order by made_at desc, queue_id
limit 1;
