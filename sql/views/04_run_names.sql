-- Every run under its ID, and as "latest" the run finished last; controls and replicates stand aside, and where there is another run predictions of a file and metadata baselines too.
create or replace view run_names as
select run_id as name, run_id,
from runs
union all
select 'latest', coalesce(
    arg_max(run_id, finished_at) filter (where source_sha256 is null and model != 'metadata-baseline'),
    arg_max(run_id, finished_at) filter (where source_sha256 is not null),
    arg_max(run_id, finished_at)
),
from runs
where control is null and replicate_of is null
having count(*) > 0;
