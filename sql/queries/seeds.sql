-- How much do a run's scores change with the seed of its training, beside their intervals?
-- $run = latest: run ID, or latest
-- $run among run_names.name
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
        known.run_id,
        coalesce(chosen.replicate_of, chosen.run_id) as first_run_id,
    from known as chosen
    inner join run_names on run_names.run_id = chosen.run_id and run_names.name = $run
    inner join known
        on coalesce(known.replicate_of, known.run_id) = coalesce(chosen.replicate_of, chosen.run_id)
        and known.control is null
),

compared as (
    select
        scores.*,
        if(isfinite(scores.value), scores.value, null) as defined,
        trainings.first_run_id,
    from scores
    inner join trainings on trainings.run_id = scores.run_id
    where scores.part = $part
)

select
    first.metric,
    first.class_name,
    first.value,
    first.low,
    first.high,
    count(compared.defined) as seeds,
    coalesce(avg(compared.defined), 'nan') as mean,
    coalesce(stddev_samp(compared.defined), 'nan') as sd,
    coalesce(min(compared.defined), 'nan') as lowest,
    coalesce(max(compared.defined), 'nan') as highest,
    string_agg(compared.run_id, ', ' order by compared.run_id) as runs,
from compared as first
inner join compared
    on compared.metric = first.metric
    and compared.class_name is not distinct from first.class_name
    and compared.truth_id = first.truth_id
where first.run_id = first.first_run_id
group by all
order by first.class_name nulls first, first.metric;
