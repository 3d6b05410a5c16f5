-- PR AUC of a class (average precision): precision at each distinct probability, weighted by the step in recall.
with counted as (
    select
        probabilities[$class_name] as score,
        count(*) filter (where truth = $class_name) as hits,
        count(*) as called
    from scored
    where run_id = $run_id and part = $part
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
