-- One row per patient of the stored photographs.
select patient_id, count(distinct image_id) as images, count(distinct spelling) as spellings,
from (
    select images.image_id, merged_images.patient_id, images.spelling,
    from merged_images
    inner join stored_lines on stored_lines.image_id = merged_images.image_id
    inner join images on images.export_id = stored_lines.export_id and images.line = stored_lines.line
    where merged_images.patient_id is not null and images.patient_id = merged_images.patient_id
)
group by patient_id
order by patient_id;
