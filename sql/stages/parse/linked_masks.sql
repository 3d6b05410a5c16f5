-- The masks of the study's lesions that exports only link to, each once, with the size of their photographs.
select distinct
    objects.object_id,
    objects.mask_address,
    objects.mask_color,
    images.width,
    images.height,
from merged_objects as objects
inner join merged_labels as labels on labels.label_id = objects.label_id and labels.revision = objects.revision
inner join merged_images as images on images.image_id = labels.image_id
where objects.mask_address is not null
order by all;
