-- The export that stands for the newest moment.
select export_id, moment, latest_at,
from exports
order by moment desc, export_id
limit 1;
