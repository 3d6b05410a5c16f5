-- The cases of a split with their photograph, ROI and today's reference diagnosis: what plain features are measured of.
select
    splits.case_id,
    splits.part,
    cases.patient_id,
    cases.image_id,
    cases.roi_left,
    cases.roi_top,
    cases.roi_width,
    cases.roi_height,
    truth.class_name,
    images.path,
    images.sha256,
    images.pixel_sha256,
from splits
inner join cases on cases.case_id = splits.case_id
inner join images on images.image_id = cases.image_id
left join truth on truth.case_id = splits.case_id
where splits.split_id = $split_id
order by splits.case_id;
