-- How far do annotators agree about cases that several of them read? (Krippendorff's alpha, nominal)
with said as (
    select case_id, class_name, count(*) as times,
    from 'readings.parquet'
    where counts
    group by all
),
cases as (
    select case_id, sum(times) as readings, sum(times * (times - 1)) as agreeing,
    from said
    group by case_id
    having sum(times) > 1
),
classes as (
    select class_name, sum(times) as times,
    from said
    inner join cases using (case_id)
    group by class_name
),
totals as (
    select
        count(*) as cases,
        sum(readings) as readings,
        sum(agreeing) / sum(readings * (readings - 1)) as same_class,
        1 - sum(agreeing / (readings - 1)) / sum(readings) as observed,
    from cases
)
select
    totals.cases as cases_with_several_readings,
    totals.readings,
    round(same_class, 4) as share_of_agreeing_pairs,
    round(
        1 - observed / nullif(
            1 - (select sum(times * (times - 1)) from classes) / nullif(totals.readings * (totals.readings - 1), 0), 0
        ), 4
    ) as alpha,
from totals;
