-- What a run was compared with, and what it was compared to, over all classes.
select run_id, other_run_id, part, cause, metric, value, other_value, difference, low, high, p, cases, patients, method,
from comparisons
where (run_id = $run_id or other_run_id = $run_id) and class_name is null
order by run_id, other_run_id, cause, part, metric;
