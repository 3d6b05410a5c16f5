-- The cases of a part that a run predicted, against the truth as of a moment of `exports` and against today's.
with earlier as (
    select case_id, class_name,
    from truth_at($moment::bigint)
    where class_name is not null
)
select
    scored.case_id,
    scored.patient_id,
    earlier.class_name as truth,
    scored.predicted,
    scored.probabilities,
    scored.truth as other_truth,
    scored.predicted as other_predicted,
    scored.probabilities as other_probabilities,
from scored
inner join earlier on earlier.case_id = scored.case_id
where scored.run_id = $run_id and scored.part = $part
order by scored.case_id;
