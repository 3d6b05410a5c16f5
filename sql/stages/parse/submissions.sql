-- One row per photograph of the study, as JSON, with every revision of its labels, oldest first: what `cases` matches;
-- and with its states, from each moment at which the labels that held had changed to the next. $most photographs at a
-- time, after the one that came last, since lists cannot leave memory.
with entered as (
    select image_id, min(moment) as moment,
    from stored_projects
    where in_study and image_id > $after
    group by image_id
    order by image_id
    limit $most
),
labels_here as (
    select merged_labels.*,
    from merged_labels
    semi join entered on entered.image_id = merged_labels.image_id
    where merged_labels.in_study
),
answers_here as (
    select answers.label_id, answers.revision, answers.object_position, answers.position, answers.diagnosis,
    from merged_answers as answers
    semi join labels_here
        on labels_here.label_id = answers.label_id and labels_here.revision = answers.revision
    where answers.diagnosis is not null
),
marked as (
    select
        objects.label_id,
        objects.revision,
        list(
            json_array(
                objects.object_id,
                case when extent_left is not null then [extent_left, extent_top, extent_width, extent_height] end,
                coalesce(nested.answers, if(class_name is null, [], [class_name])),
                box_left is null,
                no_extent
            ) order by objects.position
        ) as boxes,
    from merged_objects as objects
    semi join labels_here
        on labels_here.label_id = objects.label_id and labels_here.revision = objects.revision
    left join (
        select label_id, revision, object_position, list(diagnosis order by position) as answers,
        from answers_here
        where object_position is not null
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
    from answers_here
    where object_position is null
    group by label_id, revision
),
submissions as (
    select
        labels.image_id,
        list(
            {
                'label_id': labels.label_id,
                'revision': labels.revision,
                'since': labels.since,
                'skipped': coalesce(labels.skipped, false),
                'annotator': labels.annotator,
                'boxes': coalesce(marked.boxes, []),
                'answers': coalesce(whole.answers, []),
                'elsewhere': coalesce(string_split(labels.elsewhere, '; '), []),
            } order by coalesce(labels.updated_at, labels.created_at) nulls first, labels.label_id, labels.revision
        ) as submissions,
    from labels_here as labels
    left join marked on marked.label_id = labels.label_id and marked.revision = labels.revision
    left join whole on whole.label_id = labels.label_id and whole.revision = labels.revision
    group by labels.image_id
),
photographed as (
    select rows.image_id, rows.moment, images.patient_fault, images.width, images.height,
    from stored_lines as rows
    inner join entered on entered.image_id = rows.image_id and entered.moment <= rows.moment
    inner join images on images.export_id = rows.export_id and images.line = rows.line
    qualify row_number() over (
        partition by rows.image_id, rows.moment order by rows.row_sha256 desc, rows.export_id desc
    ) = 1
),
holding as (
    select
        photographed.image_id,
        photographed.moment,
        {
            'label_id': labels.label_id,
            'revision': labels.revision,
            'workflow_status': label_spans.workflow_status,
            'benchmark': coalesce(
                list_contains(
                    list(label_spans.benchmark_reference) over (partition by photographed.image_id, photographed.moment),
                    labels.label_id
                ),
                false
            ),
        } as label,
    from photographed
    inner join labels_here as labels on labels.image_id = photographed.image_id
    inner join label_spans
        on label_spans.label_id = labels.label_id
        and label_spans.revision = labels.revision
        and label_spans.moment <= photographed.moment
        and (label_spans.until is null or label_spans.until > photographed.moment)
),
stood as (
    select
        photographed.*,
        list(holding.label order by holding.label.label_id) filter (where holding.label is not null) as labels,
    from photographed
    left join holding on holding.image_id = photographed.image_id and holding.moment = photographed.moment
    group by all
),
changed as (
    select *,
    from stood
    window photograph as (partition by image_id order by moment)
    qualify lag(moment) over photograph is null
        or (labels, patient_fault, width, height)
        is distinct from (
            lag(labels) over photograph,
            lag(patient_fault) over photograph,
            lag(width) over photograph,
            lag(height) over photograph
        )
),
states as (
    select
        image_id,
        list(
            {
                'since': moment,
                'until': until,
                'patient_fault': patient_fault,
                'width': width,
                'height': height,
                'labels': coalesce(labels, []),
            } order by moment
        ) as states,
    from (
        select *, lead(moment) over (partition by image_id order by moment) as until,
        from changed
    )
    group by image_id
)
select
    to_json(
        {
            'image_id': images.image_id,
            'export_id': images.export_id,
            'patient_id': images.patient_id,
            'lesion_id': images.lesion_id,
            'states': states.states,
            'submissions': coalesce(submissions.submissions, []),
        }
    )::text as photograph,
from merged_images as images
inner join states on states.image_id = images.image_id
left join submissions on submissions.image_id = images.image_id
order by images.image_id;
