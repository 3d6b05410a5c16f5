-- What changed from one export to another: labels and boxes (case by case), workflow, patients, photographs?
-- counted by kind
-- $before = : export ID, or first; empty = the last one before the other export
-- $before among exports.export_id, first
-- $after = : export ID; empty = the newest
-- $after among exports.export_id
with after_moment as (
    select coalesce(max(moment), error('no such export: `toolkit query exports` lists them')) as moment,
    from exports
    where $after in ('', export_id)
),
before_moment as (
    select coalesce(
        max(moment), if($before = '', 0, error('no such export before the other one: `toolkit query exports` lists them'))
    ) as moment,
    from exports
    where moment < (select moment from after_moment)
        and case when $before = 'first' then moment = 1 else $before in ('', export_id) end
),
old_labels as (from labels_at((select moment from before_moment))),
new_labels as (from labels_at((select moment from after_moment))),
old_readings as (from readings_at((select moment from before_moment))),
new_readings as (from readings_at((select moment from after_moment))),
old_photographs as (from photographs_at((select moment from before_moment))),
new_photographs as (from photographs_at((select moment from after_moment))),
labels_added as (
    select 'label_added' as kind, image_id, label_id, case_id, null::text as before, class_name as after,
    from new_labels
    left join new_readings using (label_id)
    where label_id not in (select label_id from old_labels)
),
labels_deleted as (
    select 'label_deleted' as kind, image_id, label_id, case_id, class_name as before, null::text as after,
    from old_labels
    left join old_readings using (label_id)
    where label_id not in (select label_id from new_labels)
),
revised as (
    select new_labels.image_id, new_labels.label_id, old_labels.revision as before, new_labels.revision as after,
    from new_labels
    inner join old_labels on old_labels.label_id = new_labels.label_id
    where old_labels.revision <> new_labels.revision
),
boxes as (
    select
        revised.label_id,
        objects.object_id,
        any_value(objects.geometry) filter (where objects.revision = revised.before) as before,
        any_value(objects.geometry) filter (where objects.revision = revised.after) as after,
    from revised
    inner join objects
        on objects.label_id = revised.label_id and objects.revision in (revised.before, revised.after)
    group by revised.label_id, objects.object_id
    having before is distinct from after
),
boxes_moved as (
    select
        'box_moved' as kind,
        revised.image_id,
        boxes.label_id,
        coalesce(new_readings.case_id, old_readings.case_id) as case_id,
        boxes.before,
        boxes.after,
    from boxes
    inner join revised on revised.label_id = boxes.label_id
    left join new_readings
        on new_readings.label_id = boxes.label_id and new_readings.object_id = boxes.object_id
    left join old_readings
        on old_readings.label_id = boxes.label_id and old_readings.object_id = boxes.object_id
),
said as (
    select revised.image_id, revised.label_id, case_id, class_name, false as is_new,
    from revised
    left join old_readings on old_readings.label_id = revised.label_id
    union all
    select revised.image_id, revised.label_id, case_id, class_name, true,
    from revised
    left join new_readings on new_readings.label_id = revised.label_id
),
answers as (
    select
        image_id,
        label_id,
        case_id,
        any_value(class_name) filter (where not is_new) as before,
        any_value(class_name) filter (where is_new) as after,
    from said
    group by image_id, label_id, case_id
),
labels_changed as (
    select 'label_changed' as kind, image_id, label_id, case_id, before, after,
    from answers
    where before is distinct from after
    union all
    select 'label_changed', image_id, label_id, case_id, before, after,
    from answers
    where label_id not in (select label_id from boxes)
    qualify not bool_or(before is distinct from after) over (partition by label_id)
        and (case_id is not null or count(case_id) over (partition by label_id) = 0)
),
workflow_moved as (
    select distinct
        'workflow_moved' as kind,
        new_labels.image_id,
        null::text as label_id,
        null::text as case_id,
        old_labels.workflow_status as before,
        new_labels.workflow_status as after,
    from new_labels
    inner join old_labels on old_labels.label_id = new_labels.label_id
    where old_labels.workflow_status is distinct from new_labels.workflow_status
),
patients_changed as (
    select
        if(
            new_photographs.patient_id in (select patient_id from old_photographs where patient_id is not null)
            or count(distinct old_photographs.patient_id) over (partition by new_photographs.patient_id) > 1,
            'patient_merged',
            'patient_renamed'
        ) as kind,
        image_id,
        null::text as label_id,
        null::text as case_id,
        old_photographs.patient_id as before,
        new_photographs.patient_id as after,
    from new_photographs
    inner join old_photographs using (image_id)
    where old_photographs.patient_id is distinct from new_photographs.patient_id
),
photographs_added as (
    select
        'photograph_added' as kind,
        image_id,
        null::text as label_id,
        null::text as case_id,
        null::text as before,
        patient_id as after,
    from new_photographs
    where image_id not in (select image_id from old_photographs)
),
held as (
    select history.image_id, history.patient_id, exports.moment,
    from image_history as history
    inner join exports on exports.export_id = history.export_id
),
held_at as ( -- a review holds no photographs: those of the export before it are still there
    select
        max(moment) filter (where moment <= (select moment from before_moment)) as before,
        max(moment) filter (where moment <= (select moment from after_moment)) as after,
    from held
),
photographs_gone as (
    select distinct
        'photograph_gone' as kind,
        image_id,
        null::text as label_id,
        null::text as case_id,
        patient_id as before,
        null::text as after,
    from held
    where moment = (select before from held_at)
        and image_id not in (select image_id from held where moment = (select after from held_at))
)
from labels_added
union all from labels_deleted
union all from labels_changed
union all from boxes_moved
union all from workflow_moved
union all from patients_changed
union all from photographs_added
union all from photographs_gone
order by kind, image_id, label_id, case_id, before, after;
