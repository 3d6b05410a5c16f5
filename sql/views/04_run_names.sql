-- Every run under its ID, and under the name "latest" the run that was finished last, controls and replicates excepted.
create or replace view run_names as
select run_id as name, run_id,
from runs
union all
select 'latest', arg_max(run_id, finished_at),
from runs
where control is null and replicate_of is null
having count(*) > 0;
