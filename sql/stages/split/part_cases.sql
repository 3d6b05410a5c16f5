-- The cases of a split's part that are still in the registry, with their photograph, ROI and today's truth.
select
    splits.case_id,
    splits.part,
    cases.patient_id,
    truth.class_name,
    images.path,
    images.sha256,
    cases.roi_left,
    cases.roi_top,
    cases.roi_width,
    cases.roi_height,
from splits
inner join cases on cases.case_id = splits.case_id
inner join images on images.image_id = cases.image_id
inner join truth on truth.case_id = splits.case_id
where splits.split_id = $split_id and splits.part = $part
order by splits.case_id;
