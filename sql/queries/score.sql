-- What is a score, how certain is it, and which SQL computes it again?
-- $metric = macro_recall: metric
-- $class_name = : class; empty = over all classes
-- $run = latest: run ID, or latest
-- $part = test: subset of the split
select
    value,
    low,
    high,
    confidence,
    method,
    replicates,
    cases,
    patients,
    truth_id,
    query,
from scores
inner join run_names on run_names.run_id = scores.run_id
where
    run_names.name = $run
    and part = $part
    and metric = $metric
    and coalesce(class_name, '') = $class_name
order by metric;
