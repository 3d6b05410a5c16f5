-- The cases of each class in the training set of a run.
select splits.class_name, count(*) as cases
from runs
inner join splits on splits.split_id = runs.split_id and splits.part = 'train'
where runs.run_id = $run_id
group by splits.class_name
order by splits.class_name;
