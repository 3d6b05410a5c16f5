-- Precision of a class: of the cases predicted as it, the share that are.
select coalesce(count(*) filter (where truth = $class_name) / nullif(count(*), 0), 'nan') as value
from scored
where run_id = $run_id and part = $part and predicted = $class_name
