-- What was the reference diagnosis of each case, as of an older export or a time?
-- $export = : export ID, or first; empty = the newest
-- $export among exports.export_id, first
-- $time = : UTC time, such as 2025-04-01 12:00; used where no export is given
with as_of as (
    select max(moment) as moment,
    from exports
    where case
        when $export = 'first' then moment = 1
        when $export <> '' then export_id = $export
        when $time <> '' then latest_at <= cast(nullif($time, '') as timestamp)
        else true
    end
)
select case_id, class_name, resolved_by,
from truth_at((
    select coalesce(moment, error('no export of this ID or before this time: `toolkit query exports` lists them')),
    from as_of
))
order by case_id;
