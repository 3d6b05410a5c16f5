-- Photographs whose files or pixels are identical, each with the one that comes first.
with files as (
    select
        image_id,
        min(image_id) over (partition by sha256) as first_of_bytes,
        min(image_id) over (partition by pixel_sha256) as first_of_pixels,
    from images
    where pixel_sha256 is not null
)
select
    first_of_bytes as image_id,
    image_id as other_image_id,
    'identical_bytes' as relation,
    1.0::double as score,
    'identical files' as change,
from files
where image_id <> first_of_bytes
union all
select first_of_pixels, image_id, 'identical_pixels', 1.0, 'identical pixels in different files',
from files
where image_id = first_of_bytes and image_id <> first_of_pixels
order by all;
