-- Which patients share a photograph, and how; a photograph without a patient counts as a patient of its own.
with photographs as (
    select image_id, coalesce(patient_id, image_id) as patient_id, sha256, pixel_sha256,
    from images
),
same as (
    select
        'identical_bytes' as relation,
        min(patient_id) over (partition by sha256) as patient_id,
        patient_id as other_patient_id,
    from photographs
    where sha256 is not null
    union all
    select 'identical_pixels', min(patient_id) over (partition by pixel_sha256), patient_id,
    from photographs
    where pixel_sha256 is not null
    union all
    select 'near_duplicate', first.patient_id, other.patient_id,
    from duplicates
    inner join photographs as first on first.image_id = duplicates.image_id
    inner join photographs as other on other.image_id = duplicates.other_image_id
    where duplicates.relation = 'near_duplicate'
)
select distinct
    relation,
    least(patient_id, other_patient_id) as patient_id,
    greatest(patient_id, other_patient_id) as other_patient_id,
from same
where patient_id <> other_patient_id
order by all;
