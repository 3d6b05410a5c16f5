-- Which photographs are duplicates of each other, and are they of one patient, one subset and one reference diagnosis?
with known as materialized (
    select cases.case_id, cases.image_id, cases.patient_id, splits.part, truth.class_name as reference_diagnosis,
    from cases
    inner join truth on truth.case_id = cases.case_id
    left join splits
        on splits.case_id = cases.case_id and splits.split_id = (select arg_max(split_id, created_at) from splits)
)
select
    duplicates.relation,
    duplicates.change,
    duplicates.score,
    one.case_id,
    other.case_id as other_case_id,
    one.patient_id,
    other.patient_id as other_patient_id,
    one.patient_id = other.patient_id as same_patient,
    one.part is not distinct from other.part as same_subset,
    one.reference_diagnosis is not distinct from other.reference_diagnosis as same_diagnosis,
from duplicates
inner join known as one on one.image_id = duplicates.image_id
inner join known as other on other.image_id = duplicates.other_image_id
order by same_patient, same_diagnosis, duplicates.score desc, one.case_id, other.case_id;
