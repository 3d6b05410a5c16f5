-- How a run stands beside its controls: the same cases, with photographs that hold no lesion.
select
    runs.control,
    comparisons.other_run_id as control_run_id,
    comparisons.part,
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
    comparisons.run_id = $run_id
    and comparisons.cause = 'model'
    and runs.control is not null
    and runs.control_of = $run_id
    and comparisons.metric in ('macro_recall', 'macro_roc_auc', 'accuracy')
    and comparisons.class_name is null
order by
    list_position(['blank', 'border', 'shuffled', 'metadata'], runs.control),
    comparisons.part,
    list_position(['macro_recall', 'macro_roc_auc', 'accuracy'], comparisons.metric);
