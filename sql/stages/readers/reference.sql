-- The reference diagnosis for each reader: the study's policy applied to the readings of all others; a tie gives none.
-- Readings made with the model ($aided) never take part. Where their labels held an unaided reading before, as of the
-- export $export, that takes part.
with now as (
    select case_id, label_id, revision, annotator, class_name, counts, benchmark,
    from readings_at((select max(moment) from exports))
    where annotator is not null and not list_contains($aided, label_id)
    union all
    select case_id, label_id, revision, annotator, class_name, counts, benchmark,
    from readings_at((select max(moment) from exports where $export in ('', export_id)))
    where annotator is not null and list_contains($aided, label_id) and list_contains($unaided, label_id)
),
said as (
    select
        readers.reader,
        now.*,
        coalesce(labels.updated_at, labels.created_at) as said_at,
        label_states.policy,
    from now
    cross join (select unnest($readers) as reader) as readers
    left join labels on labels.label_id = now.label_id and labels.revision = now.revision
    cross join label_states
    where now.annotator <> readers.reader and now.counts
),
chosen as (
    select *,
    from said
    qualify case policy
        when 'latest' then said_at is not distinct from max(said_at) over (partition by reader, case_id)
        when 'benchmark' then benchmark = bool_or(benchmark) over (partition by reader, case_id)
        else true
    end
),
votes as (
    select reader, case_id, class_name, count(*) as votes,
    from chosen
    group by reader, case_id, class_name
)
select reader, case_id, arg_max(class_name, votes) as class_name,
from (
    select *, max(votes) over (partition by reader, case_id) as most,
    from votes
)
where votes = most
group by reader, case_id
having count(*) = 1
order by reader, case_id;
