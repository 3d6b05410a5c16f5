-- Which patients may be one person: similar IDs, or the same photograph with equal metadata under two IDs?
-- $limit = 200: most rows to show
select
    findings.kind,
    one.patient_id,
    other.patient_id as other_patient_id,
    (select count(*) from images where images.patient_id = one.patient_id) as photographs,
    (select count(*) from images where images.patient_id = other.patient_id) as other_photographs,
    findings.case_id,
    findings.other_case_id,
    findings.detail,
from findings
inner join cases as one on one.case_id = findings.case_id
inner join cases as other on other.case_id = findings.other_case_id
where findings.kind in ('similar_patient_ids', 'second_patient_id')
order by findings.kind, one.patient_id, other.patient_id, findings.case_id, findings.other_case_id
limit cast($limit as bigint);
