-- The labels of a queue's cases: those that say the class in question, else all that were read, else all of the photograph.
-- That a patient was drawn at random is told nobody, so that nobody looks in another way.
with held as (
    select
        queue_items.rank,
        queue_items.patient_id,
        queue_items.case_id,
        if(queue_items.random, '', queue_items.reasons) as reasons,
        cases.image_id,
        labels.project_id,
        labels.project,
        labels.label_id,
        labels.workflow_status,
        case
            when readings.class_name = queue_items.class_name then 2
            when readings.class_name is not null then 1
            else 0
        end as nearness,
    from queue_items
    join cases on cases.case_id = queue_items.case_id
    join labels
        on labels.image_id = cases.image_id
        and labels.latest
        and labels.deleted_by is null
        and labels.in_study
        and labels.kind = 'label'
        and labels.project_id <> 'review' -- a verdict is no label of Labelbox
    left join readings on readings.case_id = queue_items.case_id and readings.label_id = labels.label_id
    where queue_items.queue_id = $queue_id
)
select rank, patient_id, case_id, reasons, image_id, project_id, project, label_id, workflow_status,
from held
qualify nearness = max(nearness) over (partition by project_id, case_id)
order by project_id, rank, label_id;
