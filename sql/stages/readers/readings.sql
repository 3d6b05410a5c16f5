-- Readings of one arm of a reader study: of a project, changed in a span of days, as of an export ('' = no limit).
with stood as (
    select readings.case_id, readings.label_id, readings.revision, readings.object_id, readings.annotator,
        readings.class_name, readings.counts,
    from readings_at((select max(moment) from exports where $export in ('', export_id))) as readings
    inner join labels on labels.label_id = readings.label_id and labels.revision = readings.revision
    where
        list_contains($projects, labels.project_id)
        and readings.annotator is not null
        and ($since = '' or coalesce(labels.updated_at, labels.created_at)::date >= $since::date)
        and ($until = '' or coalesce(labels.updated_at, labels.created_at)::date <= $until::date)
),
rated as (
    select stood.case_id, stood.label_id, answers.answer,
    from stood
    inner join answers on answers.label_id = stood.label_id and answers.revision = stood.revision
    left join objects
        on objects.label_id = stood.label_id
        and objects.revision = stood.revision
        and objects.object_id = stood.object_id
    where
        lower($rating) in (lower(answers.question), lower(answers.question_value))
        and (answers.object_position is null or answers.object_position = objects.position)
    qualify row_number() over (
        partition by stood.case_id, stood.label_id order by answers.object_position nulls last, answers.position
    ) = 1
)
select
    stood.case_id,
    cases.patient_id,
    stood.annotator as reader,
    stood.label_id,
    stood.class_name,
    stood.counts,
    rated.answer as rating,
from stood
inner join cases on cases.case_id = stood.case_id
left join rated on rated.case_id = stood.case_id and rated.label_id = stood.label_id
order by stood.case_id, stood.annotator, stood.label_id;
