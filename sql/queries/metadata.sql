-- Which values does each metadata field have, with how many cases and patients, and how many of them are malignant?
-- $field = : field, such as sex; empty = all with at most 50 values
-- $field among metadata.name
select
    metadata.name as field,
    metadata.value,
    count(distinct case_table.case_id) as cases,
    count(distinct case_table.patient_id) as patients,
    count(distinct case_table.case_id) filter (where case_table.malignant) as malignant_cases,
from metadata
inner join case_table on case_table.image_id = metadata.image_id
where metadata.name = $field
    or ($field = '' and (select count(distinct m.value) from metadata as m where m.name = metadata.name) <= 50)
group by all
order by field, metadata.value;
