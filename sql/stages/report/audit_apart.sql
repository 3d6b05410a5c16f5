-- Pairs of duplicates whose cases are in two parts of a split.
select count(*) as pairs,
from duplicates
inner join cases as one on one.image_id = duplicates.image_id
inner join cases as other on other.image_id = duplicates.other_image_id
inner join splits as here on here.case_id = one.case_id and here.split_id = $split_id
inner join splits as there on there.case_id = other.case_id and there.split_id = $split_id
where here.part <> there.part;
