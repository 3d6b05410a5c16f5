-- All differences of two runs on the same cases, over all classes first.
select
    part,
    cause,
    metric,
    class_name,
    value,
    other_value,
    difference,
    low,
    high,
    confidence,
    method,
    replicates,
    p,
    p_corrected,
    cases,
    patients,
    truth_id,
from comparisons
where
    (run_id = $run_id and other_run_id = $other_run_id)
    or (run_id = $run_id and other_run_id = $run_id and cause = 'relabelling')
order by
    list_position(['test', 'validation', 'external', 'train'], part),
    cause,
    class_name nulls first,
    metric;
