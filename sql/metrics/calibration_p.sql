-- p of slope 1 and intercept 0 by the score test; cases of a patient share the correlation of their residuals.
with events as (
    select patient_id, came, 1 / (1 + exp(-x)) as p, x
    from (
        select
            patient_id,
            cast(truth = predicted as integer) as came,
            ln(least(greatest(confidence, 1e-6), 1 - 1e-6) / (1 - least(greatest(confidence, 1e-6), 1 - 1e-6))) as x
        from scored
        where run_id = $run_id and part = $part
    )
),
patients as (
    select
        sum(came - p) as residual,
        sum((came - p) * (came - p)) as squared,
        sum(p * (1 - p)) as own,
        sum(p * (1 - p) * x) as own_x,
        sum(p * (1 - p) * x * x) as own_xx,
        sum(sqrt(p * (1 - p))) as error,
        sum(sqrt(p * (1 - p)) * x) as error_x,
        sum((came - p) * x) as residual_x
    from events
    group by patient_id
),
correlated as (
    select
        coalesce(
            case when sum(error * error - own) > 1e-6
                then least(greatest(sum(residual * residual - squared) / sum(error * error - own), 0), 1)
            end,
            0
        ) as r
    from patients
),
variances as (
    select
        sum(residual) as u,
        sum(residual_x) as v,
        (1 - any_value(r)) * sum(own) + any_value(r) * sum(error * error) as a,
        (1 - any_value(r)) * sum(own_x) + any_value(r) * sum(error * error_x) as b,
        (1 - any_value(r)) * sum(own_xx) + any_value(r) * sum(error_x * error_x) as d
    from patients
    cross join correlated
)
select
    coalesce(
        case when a * d - b * b > 1e-12
            then exp(-(d * u * u - 2 * b * u * v + a * v * v) / (a * d - b * b) / 2)
        end,
        'nan'
    ) as value
from variances
