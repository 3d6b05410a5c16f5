-- Every run with its macro recall on the part that is shown first, and how far it is from the best run of the same split and
-- part, by a paired comparison where there is one: the best stands first, runs without scores and controls last.
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
),

ranked as (
    select
        known.*,
        known.control is not null or known.replicate_of is not null as is_folded,
        first.part,
        first.value,
        first.low,
        first.high,
        first.cases,
        first.patients,
        first.too_few,
        first_value(known.run_id) over (
            partition by known.split_id, first.part, known.control is not null or known.replicate_of is not null
            order by case when isfinite(first.value) then first.value end desc nulls last, known.finished_at, known.run_id
        ) as best_run_id,
    from known
    left join first on first.run_id = known.run_id
),

compared as (
    select run_id, other_run_id, part, difference, low, high, p,
    from comparisons
    where metric = 'macro_recall' and class_name is null and cause = 'model'
),

paired as ( -- the best before the other; two runs may have been compared in both directions
    select *, from compared
    union all
    select other_run_id, run_id, part, -difference, -high, -low, p,
    from compared as turned
    where not exists (
        from compared
        where
            compared.run_id = turned.other_run_id
            and compared.other_run_id = turned.run_id
            and compared.part = turned.part
    )
)

select
    ranked.run_id,
    ranked.split_id,
    ranked.model,
    ranked.train_cases,
    ranked.train_patients,
    ranked.finished_at,
    ranked.control,
    ranked.control_of,
    ranked.replicate_of,
    ranked.seed,
    ranked.source_sha256,
    ranked.is_folded,
    ranked.part,
    ranked.value,
    ranked.low,
    ranked.high,
    ranked.cases,
    ranked.patients,
    ranked.too_few,
    ranked.best_run_id,
    paired.difference,
    paired.low as difference_low,
    paired.high as difference_high,
    paired.p,
from ranked
left join paired
    on paired.run_id = ranked.best_run_id
    and paired.other_run_id = ranked.run_id
    and paired.part = ranked.part
    and not ranked.is_folded
order by
    max(ranked.finished_at) over (partition by ranked.split_id) desc,
    ranked.split_id,
    ranked.is_folded,
    list_position(['test', 'validation', 'external', 'train'], ranked.part) nulls last,
    case when isfinite(ranked.value) then ranked.value end desc nulls last,
    ranked.finished_at desc,
    ranked.run_id;
