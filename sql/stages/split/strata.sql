-- The values of some metadata fields by photograph; several values of one field become one text.
select image_id, name, string_agg(distinct value, '; ' order by value) as value,
from metadata
where list_contains(string_split($names, chr(31)), name)
group by image_id, name
order by image_id, name;
