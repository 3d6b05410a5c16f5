-- How often the test of calibration has p < 0.05 in such data where logits are 1.5 times too large.
with events as (
    select patient_id, came, 1 / (1 + exp(-x)) as p, x, 1 / (1 + exp(-x / 1.5)) as q
    from (
        select
            patient_id,
            cast(truth = predicted as integer) as came,
            ln(least(greatest(confidence, 1e-6), 1 - 1e-6) / (1 - least(greatest(confidence, 1e-6), 1 - 1e-6))) as x
        from scored
        where run_id = $run_id and part = $part
    )
),
weighed as (
    select *, p * (1 - p) as spread, (p * (1 - p) + q * (1 - q)) / 2 as between_both
    from events
),
patients as (
    select
        sum(came - p) as residual,
        sum((came - p) * (came - p)) as squared,
        sum(spread) as spread,
        sum(sqrt(spread)) as spread_error,
        sum(q - p) as shift,
        sum((q - p) * x) as shift_x,
        sum(between_both) as own,
        sum(between_both * x) as own_x,
        sum(between_both * x * x) as own_xx,
        sum(sqrt(between_both)) as error,
        sum(sqrt(between_both) * x) as error_x
    from weighed
    group by patient_id
),
correlated as (
    select
        coalesce(
            case when sum(spread_error * spread_error - spread) > 1e-6
                then least(
                    greatest(
                        sum(residual * residual - squared) / sum(spread_error * spread_error - spread), 0
                    ),
                    1
                )
            end,
            0
        ) as r
    from patients
),
variances as (
    select
        sum(shift) as u,
        sum(shift_x) as v,
        (1 - any_value(r)) * sum(own) + any_value(r) * sum(error * error) as a,
        (1 - any_value(r)) * sum(own_x) + any_value(r) * sum(error * error_x) as b,
        (1 - any_value(r)) * sum(own_xx) + any_value(r) * sum(error_x * error_x) as d
    from patients
    cross join correlated
),
shifted as (
    select
        case when a * d - b * b > 1e-12
            then least((d * u * u - 2 * b * u * v + a * v * v) / (a * d - b * b) / 2, 500)
        end as half
    from variances
),
terms as (
    select
        half,
        exp(k * ln(half) - half - lgamma(k + 1)) as chance,
        sum(exp(k * ln(-ln(0.05)) + ln(0.05) - lgamma(k + 1))) over (order by k) as beyond
    from shifted
    cross join (select unnest(range(0, 1500)) as k)
)
select coalesce(sum(chance * beyond), 'nan') as value
from terms
