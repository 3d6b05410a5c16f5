-- The predicted cases of a part that have a resolved truth.
select case_id, patient_id, truth, predicted, probabilities,
from scored
where run_id = $run_id and part = $part
order by case_id;
