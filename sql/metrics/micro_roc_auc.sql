-- Micro ROC AUC: that of all classes' probabilities together, each class of each case one decision.
with decisions as (
    select truth = entry.key as positive, entry.value as score
    from (
        select truth, unnest(map_entries(probabilities)) as entry
        from scored
        where run_id = $run_id and part = $part
    )
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
