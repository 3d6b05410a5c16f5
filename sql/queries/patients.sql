-- Which patients have the most cases, in which subset, with which diagnoses and how many errors of the newest run?
-- $limit = 20: most rows to show
select
    patient_id,
    count(*) as cases,
    count(distinct image_id) as photographs,
    list(distinct part order by part) filter (where part is not null) as subsets,
    list(distinct reference_diagnosis order by reference_diagnosis)
        filter (where reference_diagnosis is not null) as diagnoses,
    count(*) filter (where not is_right) as errors,
    count(*) filter (where len(findings) > 0) as cases_with_findings,
from case_table
group by patient_id
order by cases desc, patient_id
limit cast($limit as bigint);
