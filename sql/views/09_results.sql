-- Every prediction of the newest run beside the reference diagnosis of its case; no control, and no other run, is among them.
create or replace view results as
select scored.*,
from scored
inner join run_names on run_names.run_id = scored.run_id
where run_names.name = 'latest';
