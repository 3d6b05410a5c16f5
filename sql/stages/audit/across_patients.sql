-- Pairs of duplicate photographs under two patients: a leak, unless a split keeps both in one subset.
select count(*) as pairs,
from findings
inner join cases as one on one.case_id = findings.case_id
inner join cases as other on other.case_id = findings.other_case_id
where findings.kind in ('identical_bytes', 'identical_pixels', 'near_duplicate')
    and one.patient_id <> other.patient_id
    and (select patient_from from label_states) <> 'none';
