-- What the scored cases of a part can be grouped by: the values of metadata fields, and who read them.
select scored.case_id, metadata.name as group_name, metadata.value as group_value,
from scored
inner join cases on cases.case_id = scored.case_id
inner join metadata on metadata.image_id = cases.image_id
where scored.run_id = $run_id and scored.part = $part
union
select scored.case_id, 'annotator' as group_name, readings.annotator as group_value,
from scored
inner join readings on readings.case_id = scored.case_id
where scored.run_id = $run_id and scored.part = $part and readings.annotator is not null
order by group_name, group_value, case_id;
