-- Every case with a reference diagnosis, with its photograph, ROI, and whether its photograph shows it alone.
select
    cases.case_id,
    cases.image_id,
    cases.patient_id,
    cases.lesion_id,
    cases.roi_left,
    cases.roi_top,
    cases.roi_width,
    cases.roi_height,
    count(*) over (partition by cases.image_id) = 1 as alone,
    truth.class_name,
    truth.votes,
    images.path,
    images.sha256,
    images.pixel_sha256,
    images.width,
    images.height,
from cases
inner join truth on truth.case_id = cases.case_id
inner join images on images.image_id = cases.image_id
where truth.class_name is not null
order by cases.case_id;
