-- All differences of two runs on the same cases, over all classes first.
with known as (
    select *,
    from comparisons
    union all by name
    select null::boolean as too_few, -- a registry of an earlier version lacks it
    where false
)

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
    too_few,
    truth_id,
from known
where
    (run_id = $run_id and other_run_id = $other_run_id)
    or (run_id = $run_id and other_run_id = $run_id and cause = 'relabelling')
order by
    list_position(['test', 'validation', 'external', 'train'], part),
    cause,
    class_name nulls first,
    metric;
