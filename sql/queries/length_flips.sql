-- Which predictions change under length normalisation, the mean log-likelihood per token?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
select
    predictions.case_id,
    truth.class_name as truth,
    predictions.predicted,
    predictions.normalised,
    predictions.confidence,
    predictions.predicted = truth.class_name as right_as_predicted,
    predictions.normalised = truth.class_name as right_if_normalised,
from predictions
inner join run_names on run_names.run_id = predictions.run_id
left join truth on truth.case_id = predictions.case_id
where run_names.name = $run and part = $part and predictions.predicted <> predictions.normalised
order by predictions.confidence desc, predictions.case_id;
