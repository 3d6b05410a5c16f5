-- The values of some metadata fields by case, several values of a field joined to one text.
select cases.case_id, metadata.name, string_agg(distinct metadata.value, '; ' order by metadata.value) as value,
from metadata
inner join cases on cases.image_id = metadata.image_id
where list_contains(string_split($names, chr(31)), metadata.name)
group by cases.case_id, metadata.name
order by cases.case_id, metadata.name;
