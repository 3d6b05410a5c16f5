-- Photographs of a split: the patient's pseudonym, and the subset that all its cases are in.
select cases.image_id, min(cases.patient_id) as patient_id, min(splits.part) as part,
from splits
join cases on cases.case_id = splits.case_id
where splits.split_id = $split_id
group by cases.image_id
having count(distinct splits.part) = 1
order by cases.image_id;
