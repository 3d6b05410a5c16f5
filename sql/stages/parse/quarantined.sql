-- The rows that were not stored, with their reasons, and what stored rows hold where nothing is read.
select export_id, at_line as line, byte_offset, 'row' as level, reason, detail, image_id,
from line_status
where status = 'quarantined'
union all
select distinct
    line_status.export_id,
    line_status.at_line,
    line_status.byte_offset,
    'object',
    'unread_content',
    unread.detail,
    line_status.image_id,
from unread
inner join line_status on line_status.export_id = unread.export_id and line_status.line = unread.line
where line_status.status = 'stored'
order by export_id, byte_offset, level;
