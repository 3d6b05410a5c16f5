-- What was excluded or warned about on import, by level and reason, and why cases have no reference diagnosis.
select level, reason, count(*) as found,
from ingest_issues
group by level, reason
union all
select 'unresolved' as level, resolved_by as reason, count(*) as found,
from truth
where class_name is null
group by resolved_by
order by level, found desc, reason;
