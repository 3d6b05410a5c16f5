-- The cases of a split that are still in the registry, with their part and today's reference diagnosis.
select splits.case_id, splits.part, truth.class_name,
from splits
inner join truth on truth.case_id = splits.case_id
where splits.split_id = $split_id
order by splits.case_id;
