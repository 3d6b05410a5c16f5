-- Pairs of photographs of one patient that look like one lesion: those with two reference diagnoses first, then two lesion IDs.
select
    findings.case_id,
    findings.other_case_id,
    one.patient_id,
    findings.score,
    findings.detail,
    coalesce(truth.class_name, '') as class_name,
    coalesce(other_truth.class_name, '') as other_class_name,
    images.path,
    images.sha256,
    other_images.path as other_path,
    other_images.sha256 as other_sha256,
from findings
inner join cases as one on one.case_id = findings.case_id
inner join cases as other on other.case_id = findings.other_case_id
inner join images on images.image_id = one.image_id
inner join images as other_images on other_images.image_id = other.image_id
left join truth on truth.case_id = one.case_id
left join truth as other_truth on other_truth.case_id = other.case_id
where findings.kind = 'same_lesion_within_patient'
order by
    truth.class_name is not distinct from other_truth.class_name,
    one.lesion_id is not distinct from other.lesion_id,
    findings.score desc,
    findings.case_id,
    findings.other_case_id;
