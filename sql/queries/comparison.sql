-- How much better is one run than another, and how much of a change comes from new labels?
-- $run: ID of the run before
-- $run among run_names.name
-- $other = latest: ID of the run after, or latest
-- $other among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
with known as (
    select *,
    from comparisons
    union all by name
    select null::boolean as too_few, -- a registry of an earlier version lacks it
    where false
)

select
    cause,
    metric,
    class_name,
    value,
    other_value,
    difference,
    low,
    high,
    p,
    p_corrected,
    cases,
    patients,
    too_few,
    method,
    replicates,
    truth_id,
from known
inner join run_names as first_name on first_name.run_id = known.run_id
inner join run_names as second_name on second_name.run_id = known.other_run_id
where first_name.name = $run and (cause = 'relabelling' or second_name.name = $other) and part = $part
order by cause, class_name is not null, metric, class_name;
