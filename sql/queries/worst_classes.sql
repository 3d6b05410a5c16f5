-- Which classes score lowest in recall, or in another metric, and with which interval?
-- $run = latest: run ID, or latest
-- $part = test: subset of the split
-- $metric = recall: any metric of the scores table
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
