-- The export of an ID, else the last one up to a time (UTC), with its moment; no row where there is none.
select
    export_id,
    moment,
    latest_at,
from exports
where export_id = $asked or latest_at <= try_cast($asked as timestamp)
order by export_id = $asked desc, moment desc, export_id
limit 1;
