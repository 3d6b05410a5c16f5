-- The predicted cases of a part whose label reviewers changed, or whose suggested class is another and nobody reviewed.
select
    items.case_id,
    items.patient_id,
    items.rank,
    items.outcome,
    items.class_name,
    items.class_suggested as changed_to,
    predictions.predicted,
    items.probability,
from predictions
inner join truth on truth.case_id = predictions.case_id
inner join queue_outcomes as items on items.case_id = predictions.case_id and items.queue_id = $queue
where predictions.run_id = $run and predictions.part = $part
    and items.class_name is distinct from items.class_suggested
order by items.rank;
