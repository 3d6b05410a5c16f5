-- What a person should look at: photographs that are there twice, and readings that disagree.
with photographs as (
    select
        images.image_id,
        images.sha256,
        images.pixel_sha256,
        min(cases.case_id) as case_id,
        any_value(cases.patient_id) as patient_id,
    from images
    inner join cases on cases.image_id = images.image_id
    where images.pixel_sha256 is not null
    group by all
),
pairs as (
    select
        first.case_id,
        other.case_id as other_case_id,
        first.patient_id = other.patient_id as same_patient,
        first.sha256 = other.sha256 as same_bytes,
    from photographs as other
    inner join (
        select pixel_sha256, arg_min(case_id, case_id) as case_id, arg_min(patient_id, case_id) as patient_id,
            arg_min(sha256, case_id) as sha256, min(case_id) as least,
        from photographs
        group by pixel_sha256
    ) as first on first.pixel_sha256 = other.pixel_sha256 and other.case_id > first.least
),
disagreements as (
    select
        case_id,
        count(*) as readings,
        count(distinct class_name) as classes,
        list_sort(list(distinct class_name)) as said,
    from readings
    group by case_id
    having count(distinct class_name) > 1
)
select
    if(same_bytes, 'identical_bytes', 'identical_pixels') as kind,
    'audit' as source,
    case_id,
    other_case_id,
    1.0 as score,
    if(same_patient, 'the same photograph twice, of one patient', 'the same photograph under two patients') as detail,
from pairs
union all
select
    'disagreement',
    'audit',
    disagreements.case_id,
    null,
    1 - truth.votes / truth.readings,
    disagreements.readings || ' readings say ' || array_to_string(said, ', ')
        || if(truth.class_name is null, '; unresolved', '; resolved as ' || truth.class_name),
from disagreements
inner join truth on truth.case_id = disagreements.case_id
order by kind, case_id, other_case_id;
