-- Calibration slope: logistic regression of the event on the logit of its probability, by Newton's method.
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
    select 0 as step, 0.0::double as start, 1.0::double as slope, 1.0::double as moved
    union all
    select step + 1, start + up, slope + turn, greatest(abs(up), abs(turn))
    from (
        select
            step,
            start,
            slope,
            (sxx * g - sx * gx) / nullif(s * sxx - sx * sx, 0) as up,
            (s * gx - sx * g) / nullif(s * sxx - sx * sx, 0) as turn
        from (
            select
                step,
                start,
                slope,
                sum(came - p) as g,
                sum((came - p) * x) as gx,
                sum(p * (1 - p)) as s,
                sum(p * (1 - p) * x) as sx,
                sum(p * (1 - p) * x * x) as sxx
            from (select fit.*, came, x, 1 / (1 + exp(-start - slope * x)) as p from fit cross join logits)
            where step < 50 and moved >= 1e-10
            group by step, start, slope
        )
    )
    where up is not null
)
select coalesce(max(slope) filter (where moved < 1e-10), 'nan') as value
from fit
