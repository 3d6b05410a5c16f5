-- Expected calibration error: how far mean probability and frequency are apart, bins of equal width weighted by cases.
with events as (
    select
        case $class_name when '' then confidence else probabilities[$class_name] end as chance,
        cast(case $class_name when '' then truth = predicted else truth = $class_name end as integer) as came
    from scored
    where run_id = $run_id and part = $part
),
bins as (
    select abs(sum(came - chance)) as gap, count(*) as cases
    from events
    group by least(floor(chance * cast($bins as integer)), cast($bins as integer) - 1)
)
select coalesce(sum(gap) / sum(cases), 'nan') as value
from bins
