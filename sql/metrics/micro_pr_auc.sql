-- Micro PR AUC: that of all classes' probabilities together, each class of each case one decision.
-- A class that the run has no answer for is no decision.
with sayable as (
    select distinct entry.key as class_name
    from (select unnest(map_entries(log_likelihoods)) as entry from predictions where run_id = $run_id)
    where entry.value > '-inf'::double
),
decisions as (
    select truth = entry.key as positive, entry.value as score
    from (
        select truth, unnest(map_entries(probabilities)) as entry
        from scored
        where run_id = $run_id and part = $part
    )
    where entry.key in (select class_name from sayable)
),
counted as (
    select score, count(*) filter (where positive) as hits, count(*) as called
    from decisions
    group by score
),
running as (
    select
        hits,
        sum(hits) over (order by score desc) / sum(called) over (order by score desc) as precision
    from counted
)
select coalesce(sum(hits * precision) / nullif(sum(hits), 0), 'nan') as value
from running
