-- Recall of a class: of its cases, the share predicted as it.
select coalesce(count(*) filter (where predicted = $class_name) / nullif(count(*), 0), 'nan') as value
from scored
where run_id = $run_id and part = $part and truth = $class_name
