-- Which class the labels of a queue's cases had, which they have now, and how often.
select class_name, class_reviewed as changed_to, count(*) as cases,
from queue_outcomes
where queue_id = $queue and outcome = 'changed'
group by class_name, class_reviewed
order by cases desc, class_name, class_reviewed;
