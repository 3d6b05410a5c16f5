-- The rows that were not stored, with their reasons.
select export_id, at_line as line, byte_offset, 'row' as level, reason, detail, image_id,
from line_status
where status = 'quarantined'
order by export_id, byte_offset;
