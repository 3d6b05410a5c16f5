-- How many cases and patients of each class are in each subset of the newest split?
select
    splits.class_name,
    splits.part,
    count(*) as cases,
    count(distinct cases.patient_id) as patients,
from splits
inner join cases on cases.case_id = splits.case_id
where splits.split_id = (select arg_max(split_id, created_at) from splits)
group by splits.class_name, splits.part
order by splits.class_name, splits.part;
