-- Every run under its ID, and as "latest" the run finished last; controls, replicates and metadata baselines stand aside.
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
