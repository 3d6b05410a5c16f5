-- What is in a queue, in the order of review, and what became of each label?
-- $queue = latest: queue ID, or latest
-- $queue among queues.queue_id
select
    rank,
    patient_id,
    case_id,
    class_name,
    suggested_class,
    score,
    drawn_from,
    outcome,
    class_reviewed,
    reviewer,
    reasons,
from queue_outcomes
where queue_id = (
    select queue_id
    from queues
    where $queue in (queue_id, 'latest')
    order by made_at desc, queue_id
    limit 1
)
order by rank;
