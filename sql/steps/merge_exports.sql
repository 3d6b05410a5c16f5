-- Merges the stored lines of all exports: the newest export's row of each photograph, every revision of each label.
create table stored_lines as
select line_status.export_id, line_status.line, line_status.image_id, export_times.latest_at,
from line_status
inner join export_times on export_times.export_id = line_status.export_id
where line_status.status = 'stored';

create table newest as
select export_id, line, image_id,
from stored_lines
qualify row_number() over (partition by image_id order by latest_at desc nulls last, export_id desc, line) = 1;

create table merged_images as
select images.* exclude (line),
from images
inner join newest on newest.export_id = images.export_id and newest.line = images.line;

create table merged_projects as
select
    projects.image_id, project_id,
    arg_max(project, rank) as project,
    arg_max(in_study, rank) as in_study,
    arg_max_null(workflow_status, rank) as workflow_status,
    arg_max_null(batch, rank) as batch,
    arg_max_null(tags, rank) as tags,
from (
    select projects.*, row_number() over (order by latest_at nulls first, projects.export_id, projects.line) as rank,
    from projects
    inner join stored_lines on stored_lines.export_id = projects.export_id and stored_lines.line = projects.line
) as projects
group by projects.image_id, project_id;

create table merged_metadata as
select metadata.image_id, metadata.name, metadata.kind, metadata.value,
from metadata
inner join newest on newest.export_id = metadata.export_id and newest.line = metadata.line;

-- A label's content is stored once however many exports hold it; what is not content (workflow, consensus) is the
-- newest export's.
create table label_sources as
select labels.*, stored_lines.latest_at,
from labels
inner join stored_lines on stored_lines.export_id = labels.export_id and stored_lines.line = labels.line
qualify row_number() over (
    partition by label_id, content_sha256 order by stored_lines.latest_at desc nulls last, labels.export_id desc
) = 1;

create table merged_labels as
with numbered as (
    select
        *,
        row_number() over (
            partition by label_id order by updated_at nulls first, latest_at nulls first, content_sha256
        ) as revision,
    from label_sources
)
select
    *,
    revision = max(revision) over (partition by label_id) as latest,
from numbered;

create table merged_objects as
select merged_labels.revision, objects.*,
from objects
inner join merged_labels using (export_id, line, label_id, content_sha256);

create table merged_answers as
select merged_labels.revision, answers.*,
from answers
inner join merged_labels using (export_id, line, label_id, content_sha256);

create table merged_relationships as
select merged_labels.revision, relationships.*,
from relationships
inner join merged_labels using (export_id, line, label_id, content_sha256);
