-- The photographs to look for, each in the folder that was given with the newest export that holds it and has one; and
-- those of rows that are not stored: they have file names as well, which then belong to nobody else.
with seen as (
    select images.*, stored_lines.moment, true as is_stored,
    from images
    inner join stored_lines on stored_lines.export_id = images.export_id and stored_lines.line = images.line
    union all by name
    select images.*, 0 as moment, false as is_stored,
    from images
    anti join merged_images on merged_images.image_id = images.image_id
),
sources as (
    select image_id, export_id, global_key, external_id, url_name, is_stored,
    from seen
    semi join rooted on rooted.export_id = seen.export_id
    qualify row_number() over (partition by image_id order by moment desc, export_id desc, line) = 1
)
select
    sources.image_id,
    sources.export_id as looked_in,
    sources.is_stored,
    coalesce(merged_images.global_key, sources.global_key) as global_key,
    coalesce(merged_images.external_id, sources.external_id) as external_id,
    coalesce(merged_images.url_name, sources.url_name) as url_name,
    merged_images.width,
    merged_images.height,
from sources
left join merged_images on merged_images.image_id = sources.image_id
order by sources.image_id;
