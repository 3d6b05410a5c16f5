-- The photographs of a run's split, with their subset.
select cases.image_id, min(splits.part) as part,
from runs
join splits on splits.split_id = runs.split_id
join cases on cases.case_id = splits.case_id
where runs.run_id = $run_id
group by cases.image_id
having count(distinct splits.part) = 1
order by part, cases.image_id;
