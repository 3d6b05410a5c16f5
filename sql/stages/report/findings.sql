-- Findings by kind, with one of their details as an example.
select
    kind,
    source,
    count(*) as found,
    count(distinct case_id) as cases,
    min(detail) as example,
from findings
group by kind, source
order by kind, source;
