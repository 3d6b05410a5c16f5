-- Debiased calibration error: root of the bins' mean squared gap, less the variance of their frequency between patients.
with events as (
    select
        patient_id,
        case $class_name when '' then confidence else probabilities[$class_name] end as chance,
        cast(case $class_name when '' then truth = predicted else truth = $class_name end as integer) as came
    from scored
    where run_id = $run_id and part = $part
),
placed as (
    select *, least(floor(chance * cast($bins as integer)), cast($bins as integer) - 1) as bin
    from events
),
bins as (
    select bin, count(*) as cases, avg(chance) as chance, avg(came) as came
    from placed
    group by bin
),
patients as (
    select placed.bin, sum(placed.came - bins.came) as apart
    from placed
    inner join bins on bins.bin = placed.bin
    group by placed.bin, placed.patient_id
),
variances as (
    select bin, count(*) as patients, sum(apart * apart) as squares
    from patients
    group by bin
),
errors as (
    select
        coalesce(
            sum(
                bins.cases
                * (pow(bins.chance - bins.came, 2) - patients / (patients - 1) * squares / (bins.cases * bins.cases))
            ) filter (where patients > 1),
            0
        ) / sum(bins.cases) as mean_square
    from bins
    inner join variances on variances.bin = bins.bin
)
select coalesce(case when mean_square > 1e-12 then sqrt(mean_square) else mean_square * 0 end, 'nan') as value
from errors
