-- F1 of a class: twice the hits over the cases that are it plus the cases predicted as it.
select
    coalesce(
        2 * count(*) filter (where truth = $class_name and predicted = $class_name)
        / nullif(count(*) filter (where truth = $class_name) + count(*) filter (where predicted = $class_name), 0),
        'nan'
    ) as value
from scored
where run_id = $run_id and part = $part
