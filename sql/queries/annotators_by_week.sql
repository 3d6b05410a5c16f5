-- How does each annotator change from week to week: readings, agreement where others read too, errors expected, time taken?
select
    readings.annotator,
    date_trunc('week', coalesce(labels.updated_at, labels.created_at))::date as week,
    count(*) as readings,
    count(*) filter (where truth.readings > 1) as shared,
    count(*) filter (where truth.readings > 1 and readings.class_name = truth.class_name)
        / nullif(count(*) filter (where truth.readings > 1), 0) as agreement,
    avg(
        case
            when readings.class_name = evidence.class_name then evidence.score
            when readings.class_name = evidence.suggested_class then 1 - evidence.suggested_probability
            when evidence.case_id is not null then 1
        end
    ) as expected_error_rate,
    median(labels.seconds_to_create) as median_seconds,
from readings
inner join labels on labels.label_id = readings.label_id and labels.revision = readings.revision
inner join truth on truth.case_id = readings.case_id
left join label_evidence as evidence
    on evidence.case_id = readings.case_id and evidence.class_name = truth.class_name
group by all
order by readings.annotator, week;
