-- How a run compares over all classes, on the same cases: $others = runs, or its controls (input ablations, and plain features).
-- A control stands second, as control minus run, whichever of the two was given to compare first.
with known as (
    select *,
    from comparisons
    union all by name
    select null::boolean as too_few, -- a registry of an earlier version lacks it
    where false
),

own as (
    select
        known.*,
        peers.run_id as peer,
        peers.control,
        $others = 'controls' and known.run_id <> $run_id as turned,
    from known
    inner join runs as peers
        on peers.run_id = if(known.run_id = $run_id, known.other_run_id, known.run_id)
    where
        known.class_name is null
        and $run_id in (known.run_id, known.other_run_id)
        and case $others
            when 'controls' then
                peers.control_of = $run_id
                and not contains(peers.control, ':') -- degraded photographs have a section of their own
                and known.cause = 'model'
                and known.metric in ('macro_recall', 'macro_roc_auc', 'accuracy')
            else peers.control_of is distinct from $run_id
        end
)

select
    if(turned, $run_id, run_id) as run_id,
    if(turned, peer, other_run_id) as other_run_id,
    control,
    part,
    cause,
    metric,
    class_name,
    if(turned, other_value, value) as value,
    if(turned, value, other_value) as other_value,
    if(turned, -difference, difference) as difference,
    if(turned, -high, low) as low,
    if(turned, -low, high) as high,
    p,
    confidence,
    method,
    cases,
    patients,
    too_few,
from own
qualify
    $others <> 'controls'
    or row_number() over (partition by peer, part, cause, metric order by turned) = 1
order by
    run_id,
    list_position(['plain', 'blank', 'border', 'shuffled', 'metadata'], control),
    other_run_id,
    cause,
    part,
    list_position(['macro_recall', 'macro_roc_auc', 'accuracy'], metric),
    metric;
