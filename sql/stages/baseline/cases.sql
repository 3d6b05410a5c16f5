-- The cases of a split that are still in the registry, with today's class; the photograph is not needed.
select splits.case_id, splits.part, cases.patient_id, truth.class_name,
from splits
inner join cases on cases.case_id = splits.case_id
inner join truth on truth.case_id = splits.case_id
where splits.split_id = $split_id
order by splits.case_id;
