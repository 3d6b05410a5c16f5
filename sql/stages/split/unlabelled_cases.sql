-- The cases that nobody has labelled and that are not in a split, with their photograph and ROI; the class is null.
select
    cases.case_id,
    cases.patient_id,
    truth.class_name,
    images.path,
    images.sha256,
    cases.roi_left,
    cases.roi_top,
    cases.roi_width,
    cases.roi_height,
from cases
inner join images on images.image_id = cases.image_id
inner join truth on truth.case_id = cases.case_id
where
    truth.resolved_by = 'unlabelled'
    and not exists (
        from splits
        where splits.split_id = $split_id and splits.case_id = cases.case_id
    )
order by cases.case_id;
