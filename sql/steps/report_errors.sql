-- Every case a run got wrong, test first, most confident first, with its photograph and ROI.
select
    scored.part,
    scored.case_id,
    scored.patient_id,
    scored.truth,
    scored.predicted,
    scored.confidence,
    scored.label_mass,
    scored.probabilities,
    images.path,
    cases.roi_left,
    cases.roi_top,
    cases.roi_width,
    cases.roi_height,
from scored
inner join cases on cases.case_id = scored.case_id
inner join images on images.image_id = cases.image_id
where scored.run_id = $run_id and scored.truth <> scored.predicted
order by
    list_position(['test', 'validation', 'external', 'train'], scored.part),
    scored.confidence desc,
    scored.case_id;
