-- The predictions of a run, with the probability of every class.
select part, case_id, predicted, confidence, probabilities,
from predictions
where run_id = $run_id
order by part, case_id;
