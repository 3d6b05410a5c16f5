-- The moment of an export, or the last one up to a time (UTC); NULL where there is none.
select coalesce(
    max(moment) filter (where export_id = $since),
    max(moment) filter (where latest_at <= try_cast($since as timestamp))
) as moment
from exports;
