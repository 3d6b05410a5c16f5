-- Is the model of more use than calling every case, or none (0), at each price of a false alarm?
-- $run = latest: run ID
-- $part = test: part of the split
select target, threshold, net_benefit, low, high, everyone, cases, patients, truth_id,
from decision_curves
inner join run_names on run_names.run_id = decision_curves.run_id
where run_names.name = $run and part = $part
order by target, threshold;
