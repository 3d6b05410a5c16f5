-- The predictions of a run, and whether annotators answer the question in a box or about the photograph.
select
    predictions.case_id,
    cases.image_id,
    predictions.part,
    predictions.predicted,
    predictions.confidence,
    map_keys(predictions.probabilities) as classes,
    map_values(predictions.probabilities) as probabilities,
    cases.roi_left,
    cases.roi_top,
    cases.roi_width,
    cases.roi_height,
    count(*) over (partition by cases.image_id) > 1
    or exists (from readings where readings.case_id = cases.case_id and readings.object_id is not null) as in_a_box,
from predictions
join cases on cases.case_id = predictions.case_id
where predictions.run_id = $run_id
order by cases.image_id, predictions.case_id;
