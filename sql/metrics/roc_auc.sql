-- ROC AUC of a class: how often one of its cases gets a higher probability of it than another case; ties count a half.
with ranked as (
    select
        truth = $class_name as positive,
        rank() over (order by probabilities[$class_name])
            + (count(*) over (partition by probabilities[$class_name]) - 1) / 2 as mean_rank
    from scored
    where run_id = $run_id and part = $part
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
