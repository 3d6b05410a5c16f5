-- Every run, newest first, with its macro recall on the part that is shown first.
with known as (
    select *,
    from runs
    union all by name
    select null::text as replicate_of, null::bigint as seed, null::text as source_sha256, -- a registry of an earlier version lacks them
    where false
),

first as (
    select *,
    from scores
    where metric = 'macro_recall' and class_name is null
    qualify
        row_number() over (
            partition by run_id
            order by list_position(['test', 'validation', 'external', 'train'], part)
        )
        = 1
)

select
    runs.run_id,
    runs.split_id,
    runs.model,
    runs.train_cases,
    runs.train_patients,
    runs.finished_at,
    runs.control,
    runs.control_of,
    runs.replicate_of,
    runs.seed,
    runs.source_sha256,
    first.part,
    first.value,
    first.low,
    first.high,
    first.cases,
    first.patients,
    first.too_few,
from known as runs
left join first on first.run_id = runs.run_id
order by runs.finished_at desc, runs.run_id;
