-- Every score of a run on a part, with its interval, its support, its reference diagnoses and the SQL that computes it.
select metric, class_name, value, low, high, confidence, method, replicates, cases, patients, truth_id, query,
from scores
where run_id = $run_id and part = $part
order by class_name nulls first, metric;
