-- A run's scores over all classes, where they are by today's reference diagnoses.
select scores.part, scores.metric, scores.value,
from scores
inner join label_states on label_states.truth_id = scores.truth_id
where scores.run_id = $run_id and scores.class_name is null
order by scores.part, scores.metric;
