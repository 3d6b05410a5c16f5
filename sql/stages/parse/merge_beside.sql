-- What stands beside the labels: as the newest export has it, and the keys that are new, of every row stored.
create table merged_model_runs as
select model_runs.* exclude (export_id, line),
from model_runs
inner join newest on newest.export_id = model_runs.export_id and newest.line = model_runs.line;

create table merged_attachments as
select attachments.* exclude (export_id, line),
from attachments
inner join newest on newest.export_id = attachments.export_id and newest.line = attachments.line;

create table merged_embeddings as
select embeddings.* exclude (export_id, line),
from embeddings
inner join newest on newest.export_id = embeddings.export_id and newest.line = embeddings.line;

create table merged_unknown_keys as
select unknown_keys.export_id, unknown_keys.key_path, count(*) as rows,
from unknown_keys
inner join stored_lines on stored_lines.export_id = unknown_keys.export_id and stored_lines.line = unknown_keys.line
group by unknown_keys.export_id, unknown_keys.key_path;
