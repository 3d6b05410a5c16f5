-- One row per photograph of the study with every revision of its labels, oldest first: what `cases` matches.
with marked as (
    select
        objects.label_id,
        objects.revision,
        list(
            {
                'object_id': objects.object_id,
                'box': [box_left, box_top, box_width, box_height],
                'answers': coalesce(nested.answers, if(class_name is null, [], [class_name])),
            } order by objects.position
        ) as boxes,
    from merged_objects as objects
    left join (
        select label_id, revision, object_position, list(diagnosis order by position) as answers,
        from merged_answers
        where diagnosis is not null and object_position is not null
        group by all
    ) as nested
        on nested.label_id = objects.label_id
        and nested.revision = objects.revision
        and nested.object_position = objects.position
    where marks_case
    group by objects.label_id, objects.revision
),
whole as (
    select label_id, revision, list(diagnosis order by position) as answers,
    from merged_answers
    where diagnosis is not null and object_position is null
    group by label_id, revision
),
submissions as (
    select
        labels.image_id,
        list(
            {
                'label_id': labels.label_id,
                'revision': labels.revision,
                'latest': labels.latest,
                'skipped': coalesce(labels.skipped, false),
                'annotator': labels.annotator,
                'boxes': coalesce(marked.boxes, []),
                'answers': coalesce(whole.answers, []),
            } order by coalesce(labels.updated_at, labels.created_at) nulls first, labels.label_id, labels.revision
        ) as submissions,
    from merged_labels as labels
    left join marked on marked.label_id = labels.label_id and marked.revision = labels.revision
    left join whole on whole.label_id = labels.label_id and whole.revision = labels.revision
    where labels.in_study
    group by labels.image_id
),
in_study as (
    select distinct image_id,
    from merged_projects
    where in_study
)
select images.*, coalesce(submissions.submissions, []) as submissions,
from merged_images as images
inner join in_study on in_study.image_id = images.image_id
left join submissions on submissions.image_id = images.image_id
order by images.image_id;
