-- Which cases does one run get right that another got wrong, and vice versa?
-- $run: ID of the run before
-- $run among run_names.name
-- $other = latest: ID of the run after, or latest
-- $other among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
with before as materialized ( -- first, so that no other run's predictions are read
    select predictions.case_id, predictions.predicted, predictions.confidence,
    from predictions
    inner join run_names on run_names.run_id = predictions.run_id
    where run_names.name = $run and predictions.part = $part
),
after as materialized (
    select predictions.case_id, predictions.predicted, predictions.confidence,
    from predictions
    inner join run_names on run_names.run_id = predictions.run_id
    where run_names.name = $other and predictions.part = $part
)
select
    if(after.predicted = truth.class_name, 'fixed', 'broken') as change,
    before.case_id,
    cases.patient_id,
    truth.class_name as truth,
    before.predicted,
    before.confidence,
    after.predicted as other_predicted,
    after.confidence as other_confidence,
from before
inner join after on after.case_id = before.case_id
inner join cases on cases.case_id = before.case_id
inner join truth on truth.case_id = before.case_id
where (before.predicted = truth.class_name) <> (after.predicted = truth.class_name)
order by change, truth, before.case_id;
