-- Brier score of a class: the mean squared distance of its probability from 1 or 0; over all classes ('') their sum.
with decisions as (
    select case_id, truth, unnest(map_entries(probabilities)) as entry
    from scored
    where run_id = $run_id and part = $part
),
cases as (
    select sum(pow(entry.value - cast(truth = entry.key as integer), 2)) as distance
    from decisions
    where $class_name in ('', entry.key)
    group by case_id
)
select coalesce(avg(distance), 'nan') as value
from cases
