-- What was kept out of the registry or of the cases, and why?
select
    level,
    reason,
    count(*) as times,
    count(distinct image_id) as photographs,
    min(line) as first_line,
    arg_min(detail, (coalesce(line, 0), detail)) as example,
from ingest_issues
group by level, reason
order by level, times desc, reason;
