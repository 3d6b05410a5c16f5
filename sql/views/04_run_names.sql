-- Every run under its ID, and under the name "latest" the run that was finished last; controls, replicates and baselines of
-- metadata alone are not meant, the latter where there is another run.
create or replace view run_names as
select run_id as name, run_id,
from runs
union all
select 'latest', coalesce(
    arg_max(run_id, finished_at) filter (where model != 'metadata-baseline'), arg_max(run_id, finished_at)
),
from runs
where control is null and replicate_of is null
having count(*) > 0;
