-- Which reasons were right: what became of a queue's labels, by what spoke against them?
-- $queue = latest: queue ID, or latest
-- $queue among queues.queue_id
with chosen as (
    select queue_id
    from queues
    where $queue in (queue_id, 'latest')
    order by made_at desc, queue_id
    limit 1
),
sentences as (
    select items.case_id, unnest(string_split(items.evidence, '; ')) as sentence,
    from queue_items as items
    where items.queue_id in (from chosen)
),
reasons as (
    select distinct
        case_id,
        case
            when sentence like 'colour, texture and shape are more like %' then 'colour, texture and shape'
            when sentence like 'a model that was not trained on it says %' then 'a model of the study'
            when sentence like '% annotators say% %' then 'annotators differ'
            when sentence = 'its annotator is wrong more often than others' then 'annotator often wrong'
            when sentence like 'answered in % s, usually % s' then 'answered fast'
            when sentence like '% of this lesion, or a duplicate, ha%' then 'another photograph of the lesion'
            when sentence like 'its box reaches %' or sentence like 'its ROI %' then 'region of interest'
            when sentence like 'the photograph is %' or sentence like 'the photograph has %' then 'photograph quality'
        end as reason,
    from sentences
)
select
    reasons.reason,
    count(*) as cases,
    count(*) filter (where outcomes.outcome <> 'untouched') as reviewed,
    count(*) filter (where outcomes.outcome = 'changed') as changed,
    count(*) filter (where outcomes.outcome = 'changed')
        / nullif(count(*) filter (where outcomes.outcome in ('changed', 'confirmed')), 0) as share_wrong,
from reasons
inner join queue_outcomes as outcomes on outcomes.case_id = reasons.case_id
where reasons.reason is not null and outcomes.queue_id in (from chosen)
group by reasons.reason
order by changed desc, reviewed desc, reasons.reason;
