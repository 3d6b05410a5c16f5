-- Which values does each metadata field have, with how many cases and patients, and how many of them are malignant?
-- $field = : field, such as sex; empty = all with at most 50 values
-- $field among metadata.name
with short as ( -- fields of few values; others are listed where they are asked for
    select name
    from metadata
    group by name
    having count(distinct value) <= 50
)
select
    metadata.name as field,
    metadata.value,
    count(distinct cases.case_id) as cases,
    count(distinct cases.patient_id) as patients,
    count(distinct cases.case_id) filter (where classes.malignant) as malignant_cases,
from metadata
inner join cases on cases.image_id = metadata.image_id
inner join truth on truth.case_id = cases.case_id
left join classes on classes.class_name = truth.class_name
where metadata.name = $field or ($field = '' and metadata.name in (from short))
group by all
order by field, metadata.value;
