-- Which photographs are duplicates of each other, and are they of one patient, one subset and one reference diagnosis?
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
inner join case_table as one on one.image_id = duplicates.image_id
inner join case_table as other on other.image_id = duplicates.other_image_id
order by same_patient, same_diagnosis, duplicates.score desc, one.case_id, other.case_id;
