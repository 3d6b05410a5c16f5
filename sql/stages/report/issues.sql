-- What was not taken as it stood, by level and reason, and why cases have no class.
select level, reason, count(*) as found,
from ingest_issues
group by level, reason
union all
select 'unresolved' as level, resolved_by as reason, count(*) as found,
from truth
where class_name is null
group by resolved_by
order by level, found desc, reason;
