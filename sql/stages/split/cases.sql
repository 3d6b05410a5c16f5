-- Every case that can be split: its class is resolved.
select
    cases.case_id,
    cases.image_id,
    cases.patient_id,
    coalesce(cases.lesion_id, '') as lesion_id,
    cases.roi_left,
    cases.roi_top,
    cases.roi_width,
    cases.roi_height,
    truth.class_name,
    images.pixel_sha256,
    truth.truth_id,
from cases
inner join truth on truth.case_id = cases.case_id
inner join images on images.image_id = cases.image_id
where truth.class_name is not null
order by cases.case_id;
