-- The metadata fields of photographs, each with its kind in Labelbox where all photographs have the same.
select name, if(count(distinct coalesce(kind, '')) = 1, any_value(kind), null) as kind,
from metadata
group by name
order by name
limit $most;
