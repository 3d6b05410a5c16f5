-- Every photograph with its names and its case; one of several cases stands once with each, one without a case once.
select images.image_id, images.global_key, images.external_id, images.path, cases.case_id,
from images
left join cases on cases.image_id = images.image_id
order by images.image_id, cases.case_id;
