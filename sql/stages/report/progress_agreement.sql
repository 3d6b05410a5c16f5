-- How often two annotators gave a case the same class, by the week, month or year in which the second of them said so.
-- Verdicts of reviews are left out: reviewers see the label. Where nobody read a case again, agreement is undefined.
with said as (
    select
        readings.case_id,
        cases.patient_id,
        readings.annotator,
        readings.class_name,
        coalesce(labels.updated_at, labels.created_at) as said_at,
    from readings
    inner join labels on labels.label_id = readings.label_id and labels.revision = readings.revision
    inner join cases on cases.case_id = readings.case_id
    where labels.project_id <> 'review'
),

pairs as (
    select
        one.case_id,
        one.patient_id,
        one.class_name = other.class_name as is_equal,
        if(one.said_at is null or other.said_at is null, null, greatest(one.said_at, other.said_at)) as said_at,
    from said as one
    inner join said as other on other.case_id = one.case_id and other.annotator > one.annotator
),

by_patient as (
    select
        date_trunc($period, said_at)::date as period,
        patient_id,
        count(*) as pairs,
        count(*) filter (where is_equal) as equal_pairs,
        count(distinct case_id) as cases,
    from pairs
    group by all
),

periods as (
    select date_trunc($period, said_at)::date as period,
    from said
    union
    select period,
    from by_patient
)

select
    periods.period,
    coalesce(sum(equal_pairs) / sum(pairs), 'nan'::double) as agreement,
    coalesce(sum(pairs), 0)::bigint as pairs,
    coalesce(sum(cases), 0)::bigint as cases,
    count(patient_id) as patients,
    coalesce(list(patient_id order by patient_id) filter (where pairs > 0), []) as patient_ids,
    coalesce(list(pairs order by patient_id) filter (where pairs > 0), []) as pairs_of_patients,
    coalesce(list(equal_pairs order by patient_id) filter (where pairs > 0), []) as equal_pairs_of_patients,
from periods
left join by_patient on by_patient.period is not distinct from periods.period
group by periods.period
order by periods.period nulls last;
