-- Which keys do the exports hold that the toolkit does not know?
select exports.source, key_path, unknown_keys.rows,
from unknown_keys
inner join exports on exports.export_id = unknown_keys.export_id
order by exports.source, exports.export_id, key_path;
