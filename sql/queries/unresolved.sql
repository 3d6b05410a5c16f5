-- Which cases have no reference diagnosis, and what do their readings say?
select
    truth.case_id,
    truth.resolved_by as why,
    list({'annotator': readings.annotator, 'class_name': readings.class_name} order by readings.annotator, readings.label_id)
        filter (where readings.case_id is not null) as readings,
from truth
left join readings on readings.case_id = truth.case_id
where truth.class_name is null
group by truth.case_id, truth.resolved_by
order by why, truth.case_id;
