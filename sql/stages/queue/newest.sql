-- The cases of the newest queue, in their order.
select rank, case_id, class_name, suggested_class, random, reasons,
from queue_items
where queue_id = (select queue_id from queues order by made_at desc, queue_id limit 1)
order by rank;
