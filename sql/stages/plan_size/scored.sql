-- A run's predictions in the parts that have been scored: no subset is looked at for the first time here.
select scored.part, scored.case_id, scored.patient_id, scored.truth, scored.predicted, scored.probabilities,
from scored
where
    scored.run_id = $run_id
    and scored.part in (select part from evaluations where evaluations.run_id = $run_id)
order by scored.part, scored.case_id;
