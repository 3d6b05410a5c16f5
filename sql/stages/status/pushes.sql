-- What was sent to Labelbox, and how many things of it are in each state.
select
    kind,
    subject,
    push_id,
    count(*) filter (where state = 'sent') as sent,
    count(*) filter (where state = 'skipped') as skipped,
    count(*) filter (where state in ('failed', 'not_sent')) as failed,
    count(*) filter (where state = 'open') as open,
    max(sent_at) as sent_at,
from pushes
group by kind, subject, push_id
order by sent_at, push_id;
