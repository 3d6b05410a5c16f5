-- Which rule of the policy gave how many cases their class, most frequent first.
select resolved_by, count(*) as cases,
from truth
where class_name is not null
group by resolved_by
order by cases desc, resolved_by;
