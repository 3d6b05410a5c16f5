-- What a page shows of a case when it is enlarged: every annotator's readings, the evidence on its label where there is
-- enough to question it, the names of its photograph, and its project in Labelbox.
with asked as (
    select unnest($case_ids) as case_id
),
votes as (
    select
        readings.case_id,
        list(
            {'annotator': coalesce(readings.annotator, ''), 'class_name': readings.class_name, 'counts': readings.counts}
            order by readings.annotator, readings.revision, readings.class_name, readings.object_id
        ) as votes,
    from readings
    inner join asked on asked.case_id = readings.case_id
    group by readings.case_id
)
select
    cases.case_id,
    coalesce(votes.votes, []) as votes,
    evidence.suggested_class,
    evidence.suggested_probability,
    evidence.score,
    evidence.reasons,
    cases.image_id,
    images.path,
    images.external_id,
    images.global_key,
    (select min(project_id) from projects where projects.image_id = cases.image_id and projects.in_study) as project_id,
from asked
inner join cases on cases.case_id = asked.case_id
inner join images on images.image_id = cases.image_id
left join votes on votes.case_id = cases.case_id
left join label_evidence as evidence
    on evidence.case_id = cases.case_id and evidence.score >= $least and evidence.suggested_class is not null
order by cases.case_id;
