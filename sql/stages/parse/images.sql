-- The photographs with what was found of each file; sizes as decoded, else as exported.
select
    merged_images.image_id,
    merged_images.global_key,
    merged_images.external_id,
    merged_images.patient_id,
    merged_images.lesion_id,
    found.path,
    found.sha256,
    found.pixel_sha256,
    coalesce(found.width, merged_images.width) as width,
    coalesce(found.height, merged_images.height) as height,
    merged_images.export_id,
from merged_images
left join found on found.image_id = merged_images.image_id
order by merged_images.image_id;
