-- Which keys of the exports are unknown to the toolkit?
select exports.source, key_path, unknown_keys.rows,
from unknown_keys
inner join exports on exports.export_id = unknown_keys.export_id
order by exports.source, exports.export_id, key_path;
