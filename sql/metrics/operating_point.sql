-- The rates at a threshold: a case is flagged where the target's probabilities add up to it.
with decisions as (
    select
        list_contains(string_split($classes, ','), truth) as positive,
        list_sum(list_transform(string_split($classes, ','), lambda c: probabilities[c]))
            >= cast($threshold as double) as called
    from scored
    where run_id = $run_id and part = $part
),
counted as (
    select
        count(*) filter (where positive and called) as hit,
        count(*) filter (where not positive and called) as false_alarm,
        count(*) filter (where positive and not called) as missed,
        count(*) filter (where not positive and not called) as rejected
    from decisions
),
rated as (
    select
        *,
        hit / nullif(hit + missed, 0) as found,
        rejected / nullif(rejected + false_alarm, 0) as passed,
        try_cast(split_part($metric, '_at_', 2) as double) as prevalence
    from counted
)
select
    coalesce(
        case regexp_replace($metric, '_at_.*', '_at')
            when 'recall' then hit / nullif(hit + missed, 0)
            when 'specificity' then rejected / nullif(rejected + false_alarm, 0)
            when 'precision' then hit / nullif(hit + false_alarm, 0)
            when 'npv' then rejected / nullif(rejected + missed, 0)
            when 'f1' then 2 * hit / nullif(2 * hit + false_alarm + missed, 0)
            when 'accuracy' then (hit + rejected) / nullif(hit + false_alarm + missed + rejected, 0)
            when 'benign_per_found' then false_alarm / nullif(hit, 0)
            when 'precision_at' then
                prevalence * found / nullif(prevalence * found + (1 - prevalence) * (1 - passed), 0)
            when 'npv_at' then
                (1 - prevalence) * passed / nullif((1 - prevalence) * passed + prevalence * (1 - found), 0)
        end,
        'nan'
    ) as value
from rated
