-- How much does the difference of two runs change with the seeds of their trainings?
-- $run: ID of the run before
-- $run among run_names.name
-- $other = latest: ID of the run after, or latest
-- $other among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
with known as (
    select *,
    from runs
    union all by name
    select null::text as replicate_of, null::bigint as seed, -- a registry of an earlier version lacks them
    where false
),

trainings as (
    select
        run_names.name,
        known.run_id,
        row_number() over (partition by run_names.name order by known.replicate_of is not null, known.seed) as place,
    from run_names
    inner join known as chosen on chosen.run_id = run_names.run_id
    inner join known
        on coalesce(known.replicate_of, known.run_id) = coalesce(chosen.replicate_of, chosen.run_id)
        and known.control is null
    where run_names.name in ($run, $other)
),

differences as (
    select
        before.metric,
        before.class_name,
        first_of.place,
        if(isfinite(after.value - before.value), after.value - before.value, null) as difference,
    from trainings as first_of
    inner join trainings as second_of on second_of.place = first_of.place and second_of.name = $other
    inner join scores as before on before.run_id = first_of.run_id and before.part = $part
    inner join scores as after
        on after.run_id = second_of.run_id
        and after.part = $part
        and after.metric = before.metric
        and after.class_name is not distinct from before.class_name
        and after.truth_id = before.truth_id
    where first_of.name = $run
)

select
    metric,
    class_name,
    coalesce(any_value(difference) filter (where place = 1), 'nan') as difference,
    count(difference) as seeds,
    coalesce(avg(difference), 'nan') as mean,
    coalesce(stddev_samp(difference), 'nan') as sd,
    coalesce(min(difference), 'nan') as lowest,
    coalesce(max(difference), 'nan') as highest,
from differences
group by metric, class_name
order by class_name nulls first, metric;
