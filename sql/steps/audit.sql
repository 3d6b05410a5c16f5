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
files as (
    select
        *,
        min(case_id) over (partition by sha256) as first_of_bytes,
        min(case_id) over (partition by pixel_sha256) as first_of_pixels,
    from photographs
),
pairs as (
    select 'identical_bytes' as kind, first_of_bytes as case_id, case_id as other_case_id, patient_id,
    from files
    where case_id <> first_of_bytes
    union all
    select 'identical_pixels', first_of_pixels, case_id, patient_id,
    from files
    where case_id = first_of_bytes and case_id <> first_of_pixels
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
    pairs.kind,
    'audit' as source,
    pairs.case_id,
    pairs.other_case_id,
    1.0 as score,
    case
        when first.patient_id = pairs.patient_id then 'the same photograph twice, of one patient'
        when (select patient_from from label_states) = 'none' then 'the same photograph twice; the patient is not known'
        else 'the same photograph under two patients'
    end as detail,
from pairs
inner join cases as first on first.case_id = pairs.case_id
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
