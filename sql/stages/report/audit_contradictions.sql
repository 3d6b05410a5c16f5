-- Contradicting labels: duplicates or photographs of one lesion with two classes, readings that disagree, a label that says
-- one class in the box and another about the photograph.
select
    findings.kind,
    findings.case_id,
    findings.other_case_id,
    one.patient_id,
    other.patient_id as other_patient_id,
    findings.detail,
    coalesce(truth.class_name, '') as class_name,
    coalesce(other_truth.class_name, '') as other_class_name,
    one.roi_left,
    one.roi_top,
    one.roi_width,
    one.roi_height,
    images.path,
    images.sha256,
    other_images.path as other_path,
    other_images.sha256 as other_sha256,
from findings
left join cases as one on one.case_id = findings.case_id
left join cases as other on other.case_id = findings.other_case_id
left join images on images.image_id = one.image_id
left join images as other_images on other_images.image_id = other.image_id
left join truth on truth.case_id = one.case_id
left join truth as other_truth on other_truth.case_id = other.case_id
where findings.kind in ('contradiction', 'disagreement')
order by findings.kind, findings.detail, findings.case_id, findings.other_case_id;
