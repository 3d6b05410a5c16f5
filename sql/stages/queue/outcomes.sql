-- What became of the cases of a queue, in its order.
from queue_outcomes
where queue_id = $queue
order by rank;
