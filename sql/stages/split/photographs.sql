-- The photograph and the sides of the ROI of every case whose photograph is there.
select cases.case_id, images.path, cases.roi_left, cases.roi_top, cases.roi_width, cases.roi_height,
from cases
inner join images on images.image_id = cases.image_id
where images.path is not null
order by cases.case_id;
