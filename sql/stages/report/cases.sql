-- Every scored case of a run with photograph, ROI, readings and findings: errors first, test first, most confident first.
with own as (
    select * from scored where run_id = $run_id
),
counted_readings as (
    select
        own.part,
        own.case_id,
        count(*) filter (where readings.class_name = own.truth) as agreeing,
        count(*) as readings,
    from own
    inner join readings on readings.case_id = own.case_id
    where readings.counts
    group by own.part, own.case_id
),
noted as (
    select case_id, kind from findings where case_id is not null
    union
    select other_case_id, kind from findings where other_case_id is not null
),
case_findings as (
    select case_id, list_sort(list(kind)) as findings from noted group by case_id
)
select
    own.part,
    own.case_id,
    images.image_id,
    own.patient_id,
    own.truth,
    own.predicted,
    own.confidence,
    own.label_mass,
    own.probabilities,
    truth.resolved_by,
    coalesce(counted_readings.agreeing, 0) as agreeing,
    coalesce(counted_readings.readings, 0) as readings,
    coalesce(case_findings.findings, []) as findings,
    images.path,
    images.sha256,
    cases.roi_left,
    cases.roi_top,
    cases.roi_width,
    cases.roi_height,
from own
inner join cases on cases.case_id = own.case_id
inner join images on images.image_id = cases.image_id
inner join truth on truth.case_id = own.case_id
left join counted_readings
    on counted_readings.case_id = own.case_id and counted_readings.part = own.part
left join case_findings on case_findings.case_id = own.case_id
order by
    own.truth = own.predicted,
    list_position(['test', 'validation', 'external', 'train'], own.part),
    own.confidence desc,
    own.case_id;
