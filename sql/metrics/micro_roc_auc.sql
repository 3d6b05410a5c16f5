-- Micro ROC AUC: that of all classes' probabilities together, each class of each case one decision.
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
ranked as (
    select
        positive,
        rank() over (order by score) + (count(*) over (partition by score) - 1) / 2 as mean_rank
    from decisions
),
summed as (
    select
        count(*) filter (where positive) as positives,
        count(*) filter (where not positive) as negatives,
        sum(mean_rank) filter (where positive) as ranks
    from ranked
)
select coalesce((ranks - positives * (positives + 1) / 2) / nullif(positives * negatives, 0), 'nan') as value
from summed
