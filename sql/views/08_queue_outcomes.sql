-- The cases of every queue with what became of each label: what reviewers say, else what was labelled or approved since then.
create or replace view queue_outcomes as
with verdicts_now as (
    select verdicts.case_id, verdicts.class_name, verdicts.reviewer, verdicts.reviewed_at,
    from verdicts
    left join exports on exports.export_id = verdicts.review_id
    qualify row_number() over (
        partition by verdicts.case_id, verdicts.reviewer
        order by exports.moment desc nulls last, verdicts.reviewed_at desc, verdicts.review_id desc
    ) = 1
),
votes as (
    select case_id, class_name, count(class_name) as votes
    from verdicts_now
    group by case_id, class_name
),
reviewed as (
    select
        case_id,
        arg_max(class_name, votes) filter (where votes > 0) as class_name,
        max(votes) > 0 as decided,
        len(list_filter(list(votes), lambda n: n > 0 and n = list_max(list(votes)))) > 1 as tied,
    from votes
    group by case_id
),
reviewers as (
    select case_id, arg_max(reviewer, (reviewed_at, reviewer)) as reviewer
    from verdicts_now
    group by case_id
),
seen_again as (
    select readings.case_id, labels.updated_at as seen_at, readings.annotator,
    from readings
    inner join labels on labels.label_id = readings.label_id and labels.revision = readings.revision
    union all
    select cases.case_id, workflow.acted_at, workflow.annotator,
    from workflow
    inner join cases on cases.image_id = workflow.image_id
    where workflow.action ilike 'approve%'
),
last_seen as (
    select case_id, max(seen_at) as seen_at, arg_max(annotator, (seen_at, annotator)) as annotator
    from seen_again
    group by case_id
),
outcomes as (
    select
        items.*,
        case
            when reviewed.decided and reviewed.tied then 'unresolved'
            when reviewed.decided then if(reviewed.class_name = items.class_name, 'confirmed', 'changed')
            when reviewed.case_id is not null then 'cannot_tell'
            when truth.case_id is null then 'rejected'
            when truth.class_name is null then 'unresolved'
            when truth.class_name <> items.class_name then 'changed'
            when last_seen.seen_at >= queues.made_at then 'confirmed'
            else 'untouched'
        end as outcome,
        if(reviewed.decided, reviewed.class_name, truth.class_name) as class_now,
        coalesce(reviewers.reviewer, if(last_seen.seen_at >= queues.made_at, last_seen.annotator, null)) as reviewer,
    from queue_items as items
    inner join queues on queues.queue_id = items.queue_id
    left join truth on truth.case_id = items.case_id
    left join reviewed on reviewed.case_id = items.case_id
    left join reviewers on reviewers.case_id = items.case_id
    left join last_seen on last_seen.case_id = items.case_id
)
select
    queue_id,
    rank,
    patient_id,
    case_id,
    coalesce(drawn_from, if(random, 'all', null)) as drawn_from,
    class_name,
    outcome,
    case
        when outcome = 'changed' then class_now
        when outcome not in ('rejected', 'unresolved') then class_name
    end as class_reviewed,
    case
        when outcome = 'untouched' and score >= 0.02 then coalesce(suggested_class, class_name) -- as reviewers are shown it
        when outcome = 'untouched' then class_name
        else class_reviewed
    end as class_suggested,
    suggested_class,
    probability,
    score,
    reviewer,
    reasons,
from outcomes;
