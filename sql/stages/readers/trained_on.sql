-- How many of some cases are in the training set of a run of this workspace.
select count(distinct splits.case_id) as cases,
from splits
inner join runs on runs.split_id = splits.split_id
where splits.part = 'train' and runs.control is null and list_contains($cases, splits.case_id);
