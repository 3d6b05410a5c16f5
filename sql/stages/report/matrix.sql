-- How often each class was predicted as each, in cases and patients.
select part, truth, predicted, count(*) as cases, count(distinct patient_id) as patients,
from scored
where run_id = $run_id
group by part, truth, predicted
order by part, truth, predicted;
