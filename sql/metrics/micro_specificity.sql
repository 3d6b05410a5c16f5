-- Micro specificity and NPV: each error is one false alarm and one miss among the decisions about the other classes.
select
    coalesce(
        1 - count(*) filter (where truth <> predicted)
        / nullif(count(*) * (cardinality(any_value(probabilities)) - 1), 0),
        'nan'
    ) as value
from scored
where run_id = $run_id and part = $part
