-- Which labels were changed from one hand-off to the next, and which were changed back, by the versions Labelbox recorded?
-- $label_id = : one label, with every version; empty = all labels whose classes changed
-- $label_id among labels.label_id
with stepped as (
    select
        *,
        lag(class_names) over label as before,
        first_value(class_names) over label as first_said,
        last_value(class_names) over label as last_said,
        count(distinct class_names) over (partition by label_id) as said,
    from label_versions
    window label as (partition by label_id order by position rows between unbounded preceding and unbounded following)
)
select
    label_id,
    image_id,
    position,
    action,
    stage,
    created_at,
    annotator,
    before,
    class_names as after,
    said > 1 and first_said = last_said as changed_back,
from stepped
where label_id = $label_id
    or ($label_id = '' and before is distinct from class_names and position > 1)
order by label_id, position;
