-- Do probabilities mean what they say: which share of cases came true, by what was said?
-- $run = latest: run ID
-- $part = test: part of the split
-- $class_name = : class; empty = the predicted class
select probabilities, low_edge, high_edge, chance, came, low, high, confidence, cases, patients, truth_id,
from calibration_bins
inner join run_names on run_names.run_id = calibration_bins.run_id
where run_names.name = $run and part = $part and coalesce(class_name, '') = $class_name
order by probabilities, low_edge;
