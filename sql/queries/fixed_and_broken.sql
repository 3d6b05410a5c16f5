-- Which cases does one run get right that another got wrong, and vice versa?
-- $run: ID of the run before
-- $run among run_names.name
-- $other = latest: ID of the run after, or latest
-- $other among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
select
    case when second.predicted = second.truth then 'fixed' else 'broken' end as change,
    first.case_id,
    first.patient_id,
    first.truth,
    first.predicted,
    first.confidence,
    second.predicted as other_predicted,
    second.confidence as other_confidence,
from scored as first
inner join run_names as first_name on first_name.run_id = first.run_id
inner join scored as second on second.case_id = first.case_id and second.part = first.part
inner join run_names as second_name on second_name.run_id = second.run_id
where
    first_name.name = $run
    and second_name.name = $other
    and first.part = $part
    and (first.predicted = first.truth) <> (second.predicted = second.truth)
order by change, first.truth, first.case_id;
