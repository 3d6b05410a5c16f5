-- The labels to look at first, in order, with what is suggested instead, why, and the photograph.
select
    label_evidence.place,
    label_evidence.score,
    label_evidence.case_id,
    cases.patient_id,
    label_evidence.class_name,
    label_evidence.suggested_class,
    label_evidence.suggested_probability,
    label_evidence.own_probability,
    label_evidence.reasons,
    cases.roi_left,
    cases.roi_top,
    cases.roi_width,
    cases.roi_height,
    images.path,
    images.sha256,
from label_evidence
inner join cases on cases.case_id = label_evidence.case_id
inner join images on images.image_id = cases.image_id
where label_evidence.listed
order by label_evidence.place;
