-- Does the run score better than its controls: input ablations (does the model look at the lesion?) and plain features?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
-- $metric = macro_roc_auc: metric over all classes
-- $metric among scores.metric
with differences as ( -- control minus run, whichever of the two was given to compare first
    select other_run_id as control_run_id, run_id as of_run, part, metric, difference, low, high, p, 1 as turn,
    from comparisons
    where cause = 'model' and class_name is null
    union all
    select run_id, other_run_id, part, metric, -difference, -high, -low, p, 2,
    from comparisons
    where cause = 'model' and class_name is null
),
first_given as (
    select *
    from differences
    qualify row_number() over (partition by control_run_id, of_run, part, metric order by turn) = 1
)
select
    coalesce(runs.control, 'the run itself') as shown,
    runs.run_id,
    scores.value,
    scores.low,
    scores.high,
    first_given.difference as difference_from_run,
    first_given.low as difference_low,
    first_given.high as difference_high,
    first_given.p,
    if(runs.control is null, null, coalesce(first_given.high < 0, false)) as run_beats_it,
    scores.cases,
from run_names
inner join runs on run_names.run_id in (runs.run_id, runs.control_of)
left join scores
    on scores.run_id = runs.run_id and scores.part = $part and scores.metric = $metric and scores.class_name is null
left join first_given
    on first_given.of_run = run_names.run_id
    and first_given.control_run_id = runs.run_id
    and first_given.part = $part
    and first_given.metric = $metric
where run_names.name = $run and not contains(coalesce(runs.control, ''), ':') -- those are in image_quality
order by runs.control is not null, runs.control;
