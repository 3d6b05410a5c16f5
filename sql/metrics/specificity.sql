-- Specificity of a class: of the other classes' cases, the share not predicted as it.
select coalesce(count(*) filter (where predicted <> $class_name) / nullif(count(*), 0), 'nan') as value
from scored
where run_id = $run_id and part = $part and truth <> $class_name
