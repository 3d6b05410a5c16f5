-- How often does each annotator's reading match the reference diagnosis, in cases that others read too?
select
    readings.annotator,
    count(*) as readings,
    count(*) filter (where truth.readings > 1) as shared,
    count(*) filter (where truth.readings > 1 and readings.class_name = truth.class_name)
        / nullif(count(*) filter (where truth.readings > 1), 0) as agreement,
from readings
inner join truth on truth.case_id = readings.case_id
group by readings.annotator
order by readings.annotator;
