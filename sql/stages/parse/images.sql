-- The photographs with what was found of each file; sizes as decoded, else as exported.
select
    merged_images.image_id,
    merged_images.global_key,
    merged_images.external_id,
    merged_images.patient_id,
    merged_images.lesion_id,
    opened.path,
    opened.sha256,
    opened.pixel_sha256,
    coalesce(opened.width, merged_images.width) as width,
    coalesce(opened.height, merged_images.height) as height,
    merged_images.export_id,
from merged_images
left join opened on opened.image_id = merged_images.image_id
order by merged_images.image_id;
