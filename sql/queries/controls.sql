-- Does the run score better than its input ablations (controls): does the model look at the lesion?
-- $run = latest: run ID, or latest
-- $part = test: subset of the split
-- $metric = macro_roc_auc: metric over all classes
select
    coalesce(runs.control, 'the run itself') as shown,
    runs.run_id,
    scores.value,
    scores.low,
    scores.high,
    comparisons.difference as difference_from_run,
    comparisons.low as difference_low,
    comparisons.high as difference_high,
    comparisons.p,
    if(runs.control is null, null, coalesce(comparisons.high < 0, false)) as run_beats_it,
    scores.cases,
from run_names
inner join runs on run_names.run_id in (runs.run_id, runs.control_of)
left join scores
    on scores.run_id = runs.run_id and scores.part = $part and scores.metric = $metric and scores.class_name is null
left join comparisons
    on comparisons.run_id = run_names.run_id
    and comparisons.other_run_id = runs.run_id
    and comparisons.part = $part
    and comparisons.metric = $metric
    and comparisons.class_name is null
    and comparisons.cause = 'model'
where run_names.name = $run
order by runs.control is not null, runs.control;
