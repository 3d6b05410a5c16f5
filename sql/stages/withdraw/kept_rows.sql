-- The rows of the old registry that stay, for each table that may lose some: what the files of splits and runs no longer
-- hold, the registry does not hold either.
create temp view kept_findings as
select *
from old.findings
where (case_id is null or case_id in (select case_id from old.cases))
    and (other_case_id is null or other_case_id in (select case_id from old.cases));

create temp view kept_duplicates as
select *
from old.duplicates
where image_id in (select image_id from old.images) and other_image_id in (select image_id from old.images);

create temp view kept_splits as
select *
from old.splits
semi join split_files using (split_id, case_id);

create temp view kept_predictions as
select *
from old.predictions
semi join prediction_files using (run_id, case_id);
