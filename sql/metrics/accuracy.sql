-- Accuracy: the share of cases predicted as what they are.
select coalesce(count(*) filter (where truth = predicted) / nullif(count(*), 0), 'nan') as value
from scored
where run_id = $run_id and part = $part
