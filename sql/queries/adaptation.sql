-- What did a training that started from another run forget of the old classes, and how does it do on the new ones?
-- $run = latest: run after the adaptation, or latest
-- $run among run_names.name
-- $other: run that it started from
-- $other among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
with before as (
    select distinct likelihoods.entry.key as class_name
    from (
        select unnest(map_entries(predictions.log_likelihoods)) as entry
        from run_names
        inner join predictions on predictions.run_id = run_names.run_id
        where run_names.name = $other
    ) as likelihoods
    where likelihoods.entry.value > '-inf'::double -- a run of another workspace has no answer for some classes
),

known as (
    select *,
    from comparisons
    union all by name
    select null::boolean as too_few, -- a registry of an earlier version lacks it
    where false
),

differences as (
    select known.*
    from known
    inner join run_names as first_name on first_name.run_id = known.run_id
    inner join run_names as second_name on second_name.run_id = known.other_run_id
    where
        first_name.name = $other
        and second_name.name = $run
        and known.part = $part
        and known.metric = 'recall'
        and known.cause = 'model'
)

select
    scores.class_name,
    before.class_name is null as is_new,
    if(before.class_name is null, null, differences.value) as recall_before, -- on the cases that both runs predicted
    if(before.class_name is null, null, differences.other_value) as recall_after,
    if(before.class_name is null, null, differences.difference) as difference,
    if(before.class_name is null, null, differences.low) as low,
    if(before.class_name is null, null, differences.high) as high,
    if(before.class_name is null, null, differences.too_few) as difference_too_few,
    coalesce(before.class_name is not null and differences.high < 0, false) as forgotten,
    scores.value as recall_on_all, -- of the run after the adaptation, on all its cases
    scores.low as recall_low,
    scores.high as recall_high,
    scores.cases,
    scores.patients,
    scores.too_few,
from scores
inner join run_names on run_names.run_id = scores.run_id
left join before on before.class_name = scores.class_name
left join differences on differences.class_name = scores.class_name
where
    run_names.name = $run
    and scores.part = $part
    and scores.metric = 'recall'
    and scores.class_name is not null
    and isfinite(scores.value) -- a class without a case says nothing
order by is_new, scores.class_name;
