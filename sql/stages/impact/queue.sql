-- A queue, and the cases and patients it was chosen from.
select queue_id, made_at, truth_id, patients, cases,
from queues
where queue_id = $queue;
