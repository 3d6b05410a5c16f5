-- The cases of a part that two runs predicted, against today's truth.
select
    first.case_id,
    first.patient_id,
    first.truth,
    first.predicted,
    first.probabilities,
    second.truth as other_truth,
    second.predicted as other_predicted,
    second.probabilities as other_probabilities,
from scored as first
inner join scored as second on second.case_id = first.case_id and second.part = first.part
where first.run_id = $run_id and second.run_id = $other_run_id and first.part = $part
order by first.case_id;
