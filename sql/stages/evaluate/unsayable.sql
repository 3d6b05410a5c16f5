-- Classes that the run has no answer for: their likelihood is 0 in every case that it predicted.
with of_classes as (
    select unnest(map_entries(log_likelihoods)) as entry
    from predictions
    where run_id = $run_id
)
select entry.key as class_name
from of_classes
group by class_name
having max(entry.value) = '-inf'::double
order by class_name;
