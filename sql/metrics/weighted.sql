-- Weighted average: the mean over the classes where the metric is defined, weighted by their cases.
select coalesce(sum(scores.value * own.cases) / nullif(sum(own.cases), 0), 'nan') as value
from scores
inner join scores as own
    on own.run_id = scores.run_id and own.part = scores.part and own.class_name = scores.class_name
where
    scores.run_id = $run_id
    and scores.part = $part
    and scores.metric = $metric
    and own.metric = 'recall'
    and not isnan(scores.value)
