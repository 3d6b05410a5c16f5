-- The photographs to look for, each in the folder that was given with the newest export that holds it and has one.
select merged_images.*, sources.export_id as looked_in,
from merged_images
inner join (
    select stored_lines.image_id, stored_lines.export_id,
    from stored_lines
    semi join rooted on rooted.export_id = stored_lines.export_id
    qualify row_number() over (
        partition by stored_lines.image_id order by stored_lines.moment desc, stored_lines.export_id desc
    ) = 1
) as sources on sources.image_id = merged_images.image_id
order by merged_images.image_id;
