-- What a run was compared with, and what it was compared to, over all classes; its controls stand elsewhere.
select
    comparisons.run_id,
    comparisons.other_run_id,
    comparisons.part,
    comparisons.cause,
    comparisons.metric,
    comparisons.value,
    comparisons.other_value,
    comparisons.difference,
    comparisons.low,
    comparisons.high,
    comparisons.p,
    comparisons.cases,
    comparisons.patients,
    comparisons.method,
from comparisons
inner join runs on runs.run_id = comparisons.other_run_id
where
    (comparisons.run_id = $run_id or comparisons.other_run_id = $run_id)
    and comparisons.class_name is null
    and (runs.control is null or comparisons.cause = 'relabelling')
order by comparisons.run_id, comparisons.other_run_id, comparisons.cause, comparisons.part, comparisons.metric;
