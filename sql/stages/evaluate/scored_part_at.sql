-- The predicted cases of a part that had a resolved truth at a moment of `exports`.
select case_id, patient_id, truth, predicted, probabilities,
from scored_at($moment::bigint)
where run_id = $run_id and part = $part
order by case_id;
