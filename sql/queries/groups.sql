-- How does a run score in groups of cases, and which group is worst?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
-- $metric = accuracy: accuracy, macro_recall, macro_specificity, macro_f1, or recall of a class
-- $metric among subgroup_scores.metric
-- $class_name = : class; empty = over all classes
-- $class_name among readings.class_name, scores.class_name
-- $group_name = : group, such as sex; empty = all
-- $group_name among subgroup_scores.group_name
with known as (
    select *,
    from subgroup_scores
    union all by name
    select null::boolean as too_few, -- a registry of an earlier version lacks it
    where false
)

select
    group_name,
    group_value,
    metric,
    class_name,
    value,
    low,
    high,
    cases,
    patients,
    too_few,
    difference,
    difference_low,
    difference_high,
    p,
    q,
    worst and q < 0.05 as worst, -- earlier versions named one whatever its q
    refused,
    truth_id,
from known
inner join run_names on run_names.run_id = known.run_id
where
    run_names.name = $run
    and part = $part
    and $group_name in ('', group_name)
    and (refused is not null or (metric = $metric and coalesce(class_name, '') = $class_name))
order by group_name, group_value;
