-- Merges the stored lines of all exports: the newest row of each photograph, every revision of each label, and what each
-- export held. Reviews of verdicts have their
-- moment too. Exports whose latest time is the same are one moment: together they say what held then, so that neither
-- their names nor the order of import can decide anything.
create table moments as
select *, dense_rank() over (order by latest_at nulls first) as moment,
from (
    select export_id, max(latest_at) as latest_at,
    from lines
    group by export_id
    union all
    select review_id, reviewed_at,
    from review_files
);

create table stored_lines as
select
    line_status.export_id,
    line_status.line,
    line_status.image_id,
    lines.content_sha256 as row_sha256,
    moments.moment,
from line_status
inner join lines on lines.export_id = line_status.export_id and lines.line = line_status.line
inner join moments on moments.export_id = line_status.export_id
where line_status.status = 'stored';

create table newest as
select export_id, line, image_id,
from stored_lines
qualify row_number() over (partition by image_id order by moment desc, row_sha256 desc, export_id desc, line) = 1;

create table merged_images as
select images.* exclude (line),
from images
inner join newest on newest.export_id = images.export_id and newest.line = images.line;

create table merged_image_history as
select
    stored_lines.export_id,
    stored_lines.image_id,
    max_by(images.patient_id, (stored_lines.row_sha256, -stored_lines.line)) as patient_id,
from stored_lines
inner join images on images.export_id = stored_lines.export_id and images.line = stored_lines.line
group by stored_lines.export_id, stored_lines.image_id;

create table stored_projects as
select projects.*, stored_lines.moment, stored_lines.row_sha256,
from projects
inner join stored_lines on stored_lines.export_id = projects.export_id and stored_lines.line = projects.line;

create table merged_projects as
select
    image_id,
    project_id,
    arg_max(project, rank) as project,
    arg_max(in_study, rank) as in_study,
    arg_max_null(workflow_status, rank) as workflow_status,
    arg_max_null(batch, rank) as batch,
    arg_max_null(tags, rank) as tags,
from (
    select *, row_number() over (order by moment, row_sha256, export_id, line) as rank,
    from stored_projects
)
group by image_id, project_id;

-- A label's content is stored once however many exports hold it; what is not content (workflow, consensus) is the
-- newest export's.
create table stored_labels as
select labels.*, stored_lines.moment, stored_lines.row_sha256,
from labels
inner join stored_lines on stored_lines.export_id = labels.export_id and stored_lines.line = labels.line;

create table label_revisions as
with contents as (
    select
        *,
        min(moment) over content as since,
        first_value(export_id) over (content order by moment, export_id) as first_export,
        first_value(export_id) over (content order by moment desc, export_id desc) as last_export,
    from stored_labels
    window content as (partition by label_id, content_sha256)
    qualify row_number() over (content order by moment desc, row_sha256 desc, export_id desc) = 1
)
select
    *,
    row_number() over (partition by label_id order by updated_at nulls first, since, content_sha256) as revision,
from contents;

-- One row per label and export whose row of its photograph and project was read, from the first that held the label on;
-- without a revision where the label was no longer there.
create table merged_label_history as
with homes as (
    select label_id, image_id, project_id, min(moment) as since,
    from stored_labels
    group by label_id, image_id, project_id
),
holding as (
    select stored.export_id, stored.label_id, revisions.revision, stored.workflow_status, stored.benchmark_reference,
    from stored_labels as stored
    inner join label_revisions as revisions
        on revisions.label_id = stored.label_id and revisions.content_sha256 = stored.content_sha256
    qualify row_number() over (
        partition by stored.export_id, stored.label_id
        order by stored.updated_at desc nulls last, stored.content_sha256 desc, stored.row_sha256 desc
    ) = 1
),
visits as (
    select distinct stored.export_id, stored.moment, homes.label_id,
    from homes
    inner join stored_projects as stored on stored.image_id = homes.image_id and stored.project_id = homes.project_id
    where stored.moment >= homes.since
)
select visits.*, holding.revision, holding.workflow_status, holding.benchmark_reference,
from visits
left join holding on holding.export_id = visits.export_id and holding.label_id = visits.label_id;

-- What a label was from one moment at which it was looked for to the next; a label that one export of a moment holds was
-- there.
create table label_spans as
select
    history.*,
    lead(history.moment) over (partition by history.label_id order by history.moment) as until,
from (
    select history.*,
    from merged_label_history as history
    left join label_revisions as labels on labels.label_id = history.label_id and labels.revision = history.revision
    qualify row_number() over (
        partition by history.label_id, history.moment
        order by
            history.revision is null,
            labels.updated_at desc nulls last,
            labels.content_sha256 desc,
            history.export_id
    ) = 1
) as history;

create table merged_labels as
with last_seen as (
    select label_id, max(moment) as moment, max_by(revision, moment) as revision,
    from label_spans
    where revision is not null
    group by label_id
),
gone as (
    select label_spans.label_id, min_by(label_spans.export_id, label_spans.moment) as export_id,
    from label_spans
    inner join last_seen on last_seen.label_id = label_spans.label_id and last_seen.moment < label_spans.moment
    group by label_spans.label_id
)
select
    label_revisions.*,
    -- What a model run holds has no project that could be looked through for it: its newest content is the latest.
    label_revisions.revision = coalesce(
        last_seen.revision, max(label_revisions.revision) over (partition by label_revisions.label_id)
    ) as latest,
    gone.export_id as deleted_by,
from label_revisions
left join last_seen on last_seen.label_id = label_revisions.label_id
left join gone on gone.label_id = label_revisions.label_id;

create table merged_unknown_keys as
select unknown_keys.export_id, unknown_keys.key_path, count(*) as rows,
from unknown_keys
semi join stored_lines using (export_id, line)
group by unknown_keys.export_id, unknown_keys.key_path;

-- What became of labels and photographs in Labelbox, as the newest export with the label, or with the photograph in the
-- project, has it; a legacy export has a line for each label.
create table merged_reviews as
with newest_line as (
    select labels.export_id, labels.line, labels.label_id,
    from stored_labels as labels
    qualify row_number() over (
        partition by labels.label_id order by labels.moment desc, labels.row_sha256 desc, labels.export_id desc, labels.line
    ) = 1
)
select reviews.*,
from reviews
semi join newest_line using (export_id, line, label_id);

create table merged_workflow as
with newest_export as (
    select distinct export_id, image_id, project_id,
    from stored_projects
    qualify dense_rank() over (partition by image_id, project_id order by moment desc, export_id desc) = 1
)
select workflow.*,
from workflow
semi join stored_lines using (export_id, line)
semi join newest_export using (export_id, image_id, project_id);
