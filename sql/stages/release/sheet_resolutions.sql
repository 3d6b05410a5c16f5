-- How did the readings become the reference diagnosis, or why is there none?
select resolved_by, count(*) as cases, count(reference_diagnosis) as with_reference_diagnosis,
from 'labels.parquet'
group by resolved_by
order by cases desc, resolved_by;
