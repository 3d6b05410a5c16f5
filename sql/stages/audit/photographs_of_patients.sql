-- The photographs of patients with several whose pixels are known; of those of a patient with identical pixels, the first.
with photographs as (
    select
        patient_id,
        pixel_sha256,
        min(image_id) as image_id,
        arg_min(path, image_id) as path,
        arg_min(sha256, image_id) as sha256,
    from images
    where pixel_sha256 is not null and path is not null and patient_id is not null
        and (select patient_from from label_states) <> 'none'
    group by patient_id, pixel_sha256
)
select patient_id, image_id, pixel_sha256, path, sha256,
from photographs
qualify count(*) over (partition by patient_id) > 1
order by patient_id, image_id;
