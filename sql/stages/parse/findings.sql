-- What a person should look at in the labels of each photograph, and pairs of patients with similar IDs.
with cohort as (
    select patient_id, min(case_id) as case_id, count(distinct image_id) as photographs,
    from records_case
    where until is null
    group by patient_id
)
select kind, source, case_id, null as other_case_id, null::double as score, detail,
from records_finding
union all
select
    'similar_patient_ids',
    'parse',
    one.case_id,
    other.case_id,
    null,
    'the IDs of two patients differ only in ' || how || ': ' || one.photographs || ' and ' || other.photographs
        || if(other.photographs = 1, ' photograph', ' photographs'),
from similar_patients
inner join cohort as one on one.patient_id = similar_patients.patient_id
inner join cohort as other on other.patient_id = similar_patients.other_patient_id
where how = 'leading zeros or .0' or by_chance < 1
