-- The photographs whose pixels are known; of those with identical pixels, the one that comes first.
select pixel_sha256, min(image_id) as image_id, arg_min(path, image_id) as path,
    arg_min(sha256, image_id) as sha256,
from images
where pixel_sha256 is not null and path is not null
group by pixel_sha256
order by image_id;
