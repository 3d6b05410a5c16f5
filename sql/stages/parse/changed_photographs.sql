-- The photographs that were opened when they were parsed before, and whose file is now another one, or cannot be.
select images.image_id
from images
inner join opened_now on opened_now.image_id = images.image_id
where images.sha256 is not null and opened_now.sha256 is distinct from images.sha256
order by images.image_id;
