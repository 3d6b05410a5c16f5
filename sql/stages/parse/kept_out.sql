-- Why cases were kept out, most frequent first.
select reason, count(*) as cases,
from ingest_issues
where level = 'case'
group by reason
order by cases desc, reason;
