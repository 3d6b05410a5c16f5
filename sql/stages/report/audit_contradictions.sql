-- Contradicting labels: duplicates or photographs of one lesion with two classes, readings that disagree, a label that says
-- one class in the box and another about the photograph.
select
    findings.kind,
    findings.case_id,
    findings.other_case_id,
    one.patient_id,
    other.patient_id as other_patient_id,
    findings.detail,
from findings
left join cases as one on one.case_id = findings.case_id
left join cases as other on other.case_id = findings.other_case_id
where findings.kind in ('contradiction', 'disagreement')
order by findings.kind, findings.detail, findings.case_id, findings.other_case_id;
