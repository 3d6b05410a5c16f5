-- Is the model's net benefit higher than that of treat all, or of treat none (0), at each threshold?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
select target, threshold, net_benefit, low, high, everyone, cases, patients, truth_id,
from decision_curves
inner join run_names on run_names.run_id = decision_curves.run_id
where run_names.name = $run and part = $part
order by target, threshold;
