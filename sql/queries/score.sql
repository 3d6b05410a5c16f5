-- What is a score, how certain is it, and which SQL computes it again?
-- $metric = macro_recall: metric
-- $metric among scores.metric
-- $class_name = : class; empty = over all classes
-- $class_name among readings.class_name, scores.class_name
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
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
