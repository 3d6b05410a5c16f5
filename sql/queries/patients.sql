-- Which patients have the most cases, in which subset, with which diagnoses and how many errors of the newest run?
-- $limit = 20: most rows to show
with newest_predictions as (
    select predictions.case_id, any_value(predictions.predicted order by predictions.part) as predicted,
    from predictions
    inner join run_names on run_names.run_id = predictions.run_id and run_names.name = 'latest'
    group by predictions.case_id
),
found as (
    select case_id from findings
    union
    select other_case_id from findings
)
select
    cases.patient_id,
    count(*) as cases,
    count(distinct cases.image_id) as photographs,
    list(distinct splits.part order by splits.part) filter (where splits.part is not null) as subsets,
    list(distinct truth.class_name order by truth.class_name) filter (where truth.class_name is not null) as diagnoses,
    count(*) filter (where newest_predictions.predicted <> truth.class_name) as errors,
    count(found.case_id) as cases_with_findings,
from cases
inner join truth on truth.case_id = cases.case_id
left join splits
    on splits.case_id = cases.case_id and splits.split_id = (select arg_max(split_id, created_at) from splits)
left join newest_predictions on newest_predictions.case_id = cases.case_id
left join found on found.case_id = cases.case_id
group by cases.patient_id
order by cases desc, cases.patient_id
limit cast($limit as bigint);
