-- How many predicted cases of each part have another reference diagnosis today than at a moment of `exports`, or none.
select predictions.part, count(*) filter (where earlier.class_name is distinct from truth.class_name) as changed,
from predictions
left join truth_at($moment::bigint) as earlier on earlier.case_id = predictions.case_id
left join truth on truth.case_id = predictions.case_id
where predictions.run_id = $run_id
group by predictions.part
order by predictions.part;
