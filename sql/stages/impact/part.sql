-- The predicted cases of a part with three reference diagnoses: when a queue was made, as reviewed, and as suggested where not reviewed.
select
    predictions.case_id,
    cases.patient_id,
    predictions.predicted,
    if(items.case_id is null, truth.class_name, items.class_name) as before,
    if(items.case_id is null, truth.class_name, items.class_reviewed) as reviewed,
    if(items.case_id is null, truth.class_name, items.class_suggested) as suggested,
    items.rank,
    items.outcome,
    items.probability,
    items.drawn_from,
from predictions
inner join cases on cases.case_id = predictions.case_id
inner join truth on truth.case_id = predictions.case_id
left join queue_outcomes as items on items.case_id = predictions.case_id and items.queue_id = $queue
where predictions.run_id = $run and predictions.part = $part
order by predictions.case_id;
