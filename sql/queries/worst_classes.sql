-- Which classes score lowest in recall, or in another metric, and with which interval?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
-- $metric = recall: any metric of the scores table
-- $metric among scores.metric
select
    class_name,
    value,
    low,
    high,
    cases,
    patients,
    method,
from scores
inner join run_names on run_names.run_id = scores.run_id
where run_names.name = $run and part = $part and metric = $metric and class_name is not null
order by value, class_name;
