-- The labels that existed at a moment of `exports`, with their revision and workflow state: `from labels_at(1)`.
create or replace macro labels_at(moment_asked) as table
with last_seen as (
    select history.label_id, history.revision, history.workflow_status, labels.image_id, labels.project_id,
    from label_history as history
    inner join exports on exports.export_id = history.export_id
    left join labels on labels.label_id = history.label_id and labels.revision = history.revision
    where exports.moment <= moment_asked
    qualify row_number() over (
        partition by history.label_id
        order by
            exports.moment desc,
            history.revision is null,
            labels.updated_at desc nulls last,
            labels.content_sha256 desc,
            history.export_id
    ) = 1
)
select label_id, revision, image_id, project_id, workflow_status,
from last_seen
where revision is not null;
