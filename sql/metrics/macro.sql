-- Macro average: the plain mean over the classes where the metric is defined; each class's value has its own query.
select coalesce(avg(value) filter (where not isnan(value)), 'nan') as value
from scores
where run_id = $run_id and part = $part and metric = $metric and class_name is not null
