-- Which metadata fields are there, of how many cases and patients?
select field, count(*) as cases, count(distinct patient_id) as patients, count(distinct value) as different_values,
from (
    unpivot (select patient_id, {columns} from 'labels.parquet') on {names} into name field value value
)
group by field
order by field;
