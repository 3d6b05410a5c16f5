-- Calibration intercept: what must be added to the logits of all probabilities, by Newton's method.
with recursive events as (
    select
        case $class_name when '' then confidence else probabilities[$class_name] end as chance,
        cast(case $class_name when '' then truth = predicted else truth = $class_name end as integer) as came
    from scored
    where run_id = $run_id and part = $part
),
logits as (
    select came, ln(clipped / (1 - clipped)) as x
    from (select came, least(greatest(chance, 1e-6), 1 - 1e-6) as clipped from events)
),
fit as (
    select 0 as step, 0.0::double as shift, 1.0::double as moved
    union all
    select step + 1, shift + g / s, abs(g / s)
    from (
        select step, shift, sum(came - p) as g, sum(p * (1 - p)) as s
        from (select fit.*, came, 1 / (1 + exp(-shift - x)) as p from fit cross join logits)
        where step < 50 and moved >= 1e-10
        group by step, shift
    )
    where s > 1e-12
)
select coalesce(max(shift) filter (where moved < 1e-10), 'nan') as value
from fit
