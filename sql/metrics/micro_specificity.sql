-- Micro specificity and NPV: each error is one false alarm and one miss among the decisions about the other classes.
-- A class that the run has no answer for is no decision.
with sayable as (
    select distinct entry.key as class_name
    from (select unnest(map_entries(log_likelihoods)) as entry from predictions where run_id = $run_id)
    where entry.value > '-inf'::double
)
select
    coalesce(
        1 - count(*) filter (where truth <> predicted)
        / nullif(count(*) * ((select count(*) from sayable) - 1), 0),
        'nan'
    ) as value
from scored
where run_id = $run_id and part = $part
