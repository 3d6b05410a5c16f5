-- Verdicts as label revisions: a reviewer's verdicts on a case are one label, whose newest revision holds. They are no
-- readings of the policy: where there is a verdict, verdicts alone decide.
create table verdict_labels as
select
    verdicts.*,
    review_files.sha256,
    moments.moment,
    'review-' || left(sha256(verdicts.case_id || chr(0) || reviewer), 16) as label_id,
    row_number() over said as revision,
    lead(moments.moment) over said as until,
    last_value(verdicts.review_id) over whole as last_review,
from verdicts
inner join review_files on review_files.review_id = verdicts.review_id
inner join moments on moments.export_id = verdicts.review_id
semi join merged_images on merged_images.image_id = verdicts.image_id
window
    said as (partition by verdicts.case_id, reviewer order by moments.moment, verdicts.reviewed_at, verdicts.review_id),
    whole as (
        partition by verdicts.case_id, reviewer
        order by moments.moment, verdicts.reviewed_at, verdicts.review_id
        rows between unbounded preceding and unbounded following
    );

create table labels_of_verdicts as
select
    label_id,
    revision,
    review_id = last_review as latest,
    review_id as first_export,
    review_id as last_export,
    null::text as deleted_by,
    image_id,
    'label' as kind,
    'review' as project_id,
    'toolkit review' as project,
    true as in_study,
    reviewer as annotator,
    reviewed_at as created_at,
    reviewed_at as updated_at,
    false as skipped,
    null::text as workflow_status,
    sha256(concat_ws(chr(0), case_id, verdict, class_name)) as content_sha256,
from verdict_labels;

create table answers_of_verdicts as
select
    label_id,
    revision,
    0 as position,
    'verdict' as question,
    'radio' as kind,
    coalesce(class_name, verdict) as answer,
from verdict_labels;

create table history_of_verdicts as
select review_id as export_id, label_id, revision, null::text as workflow_status,
from verdict_labels
qualify row_number() over (partition by review_id, label_id order by revision desc) = 1;

create table readings_of_verdicts as
select
    case_id,
    label_id,
    revision,
    null::text as object_id,
    reviewer as annotator,
    class_name,
    true as counts,
    false as benchmark,
    moment as since,
    until,
    true as is_verdict,
from verdict_labels
where class_name is not null and (until is null or until > moment);
