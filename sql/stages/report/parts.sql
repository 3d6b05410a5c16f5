-- Cases and patients of a split by part and class; class_name NULL = the whole part, part NULL = the whole split.
select
    splits.part,
    splits.class_name,
    count(*) as cases,
    count(distinct cases.patient_id) as patients,
from splits
left join cases on cases.case_id = splits.case_id
where splits.split_id = $split_id
group by grouping sets ((splits.part, splits.class_name), (splits.part), (splits.class_name), ())
order by
    list_position(['train', 'validation', 'test', 'external'], splits.part),
    splits.class_name;
