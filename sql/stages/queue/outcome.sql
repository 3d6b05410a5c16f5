-- What became of the cases of a queue: a reviewer's verdict since it was made, or what Labelbox says since then.
with made as (
    select queue_id, made_at
    from queues
    where queue_id = $queue_id
),
said as (
    select verdicts.case_id, verdicts.reviewer, verdicts.verdict, verdicts.reviewed_at,
    from verdicts
    cross join made
    where verdicts.queue_id = made.queue_id or verdicts.reviewed_at >= date_trunc('day', made.made_at)
    qualify row_number() over (
        partition by verdicts.case_id order by verdicts.reviewed_at desc, verdicts.review_id, verdicts.reviewer
    ) = 1
),
seen_again as (
    select readings.case_id, any_value(readings.annotator) as annotator
    from readings
    inner join labels on labels.label_id = readings.label_id and labels.revision = readings.revision
    cross join made
    where labels.updated_at >= made.made_at
    group by readings.case_id
),
approved as (
    select cases.case_id, any_value(workflow.annotator) as annotator
    from workflow
    inner join cases on cases.image_id = workflow.image_id
    cross join made
    where workflow.acted_at >= made.made_at and workflow.action ilike 'approve%'
    group by cases.case_id
)
select
    items.rank,
    items.case_id,
    items.patient_id,
    items.drawn_from,
    items.class_name as class_before,
    truth.class_name,
    items.suggested_class,
    items.score,
    items.reasons,
    coalesce(said.reviewer, seen_again.annotator, approved.annotator) as reviewer,
    case
        when truth.case_id is null then 'rejected'
        when truth.class_name is distinct from items.class_name
            then if(truth.class_name is null, if(said.verdict = 'cannot_tell', 'cannot_tell', 'rejected'), 'changed')
        when said.verdict = 'cannot_tell' then 'cannot_tell'
        when coalesce(said.case_id, seen_again.case_id, approved.case_id) is not null then 'confirmed'
        else 'untouched'
    end as outcome,
from queue_items as items
left join truth on truth.case_id = items.case_id
left join said on said.case_id = items.case_id
left join seen_again on seen_again.case_id = items.case_id
left join approved on approved.case_id = items.case_id
where items.queue_id = $queue_id
order by items.rank;
