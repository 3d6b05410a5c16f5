-- The cases of a queue with what its page and its workbook show of each: the evidence where there is some, whether the
-- patient was drawn at random or not.
select
    items.* exclude (reasons, evidence),
    coalesce(items.score >= $least and items.suggested_class is not null, false) as is_questioned,
    coalesce(items.evidence, evidence.reasons, items.reasons) as reasons,
    cases.image_id,
    cases.roi_left,
    cases.roi_top,
    cases.roi_width,
    cases.roi_height,
    images.path,
    images.sha256,
    images.external_id,
    images.global_key,
    (select min(project_id) from projects where projects.image_id = cases.image_id and projects.in_study) as project_id,
from queue_items as items
left join cases on cases.case_id = items.case_id
left join label_evidence as evidence
    on evidence.case_id = items.case_id and evidence.class_name = items.class_name
left join images on images.image_id = cases.image_id
where items.queue_id = $queue_id
order by items.rank;
