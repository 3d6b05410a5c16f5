-- Are the probabilities calibrated: what is the observed frequency in each bin of predicted probability?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
-- $class_name = : class; empty = the predicted class
-- $class_name among readings.class_name, scores.class_name
select probabilities, low_edge, high_edge, chance, came, low, high, confidence, cases, patients, truth_id,
from calibration_bins
inner join run_names on run_names.run_id = calibration_bins.run_id
where run_names.name = $run and part = $part and coalesce(class_name, '') = $class_name
order by probabilities, low_edge;
