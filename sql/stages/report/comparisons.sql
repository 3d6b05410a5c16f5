-- How a run compares over all classes, on the same cases: $others = runs, or its controls (models without the lesion).
select
    comparisons.run_id,
    comparisons.other_run_id,
    runs.control,
    comparisons.part,
    comparisons.cause,
    comparisons.metric,
    comparisons.class_name,
    comparisons.value,
    comparisons.other_value,
    comparisons.difference,
    comparisons.low,
    comparisons.high,
    comparisons.p,
    comparisons.confidence,
    comparisons.method,
    comparisons.cases,
    comparisons.patients,
from comparisons
inner join runs on runs.run_id = comparisons.other_run_id
where
    comparisons.class_name is null
    and case $others
        when 'controls' then
            comparisons.run_id = $run_id
            and runs.control_of = $run_id
            and comparisons.cause = 'model'
            and comparisons.metric in ('macro_recall', 'macro_roc_auc', 'accuracy')
        else
            $run_id in (comparisons.run_id, comparisons.other_run_id)
            and (runs.control is null or comparisons.cause = 'relabelling')
    end
order by
    comparisons.run_id,
    list_position(['blank', 'border', 'shuffled', 'metadata'], runs.control),
    comparisons.other_run_id,
    comparisons.cause,
    comparisons.part,
    list_position(['macro_recall', 'macro_roc_auc', 'accuracy'], comparisons.metric),
    comparisons.metric;
