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
)
select
    coalesce(
        case $metric
            when 'recall' then hit / nullif(hit + missed, 0)
            when 'specificity' then rejected / nullif(rejected + false_alarm, 0)
            when 'precision' then hit / nullif(hit + false_alarm, 0)
            when 'npv' then rejected / nullif(rejected + missed, 0)
            when 'benign_per_found' then false_alarm / nullif(hit, 0)
        end,
        'nan'
    ) as value
from counted
