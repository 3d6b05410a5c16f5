-- Each annotator's class for the scored cases of a part; an annotator who gave a case two classes is left out of it.
select scored.case_id, readings.annotator, any_value(readings.class_name) as class_name,
from scored
inner join readings on readings.case_id = scored.case_id
where scored.run_id = $run_id and scored.part = $part and readings.annotator is not null
group by scored.case_id, readings.annotator
having count(distinct readings.class_name) = 1
order by scored.case_id, readings.annotator;
