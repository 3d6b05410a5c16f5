-- The runs that a run was compared with on a part, whichever of the two came first; of controls only its own.
select distinct
    others.run_id,
    others.model,
    others.control,
from comparisons
inner join runs as others
    on others.run_id = if(comparisons.run_id = $run_id, comparisons.other_run_id, comparisons.run_id)
where
    $run_id in (comparisons.run_id, comparisons.other_run_id)
    and others.run_id != $run_id
    and comparisons.part = $part
    and comparisons.cause = 'model'
    and (others.control is null or others.control_of = $run_id)
order by others.run_id;
