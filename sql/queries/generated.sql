-- What does the model answer when it generates freely: how often no class (an error), how often the right one?
-- $run = latest: run ID, or latest
-- $run among run_names.name
select
    predictions.part,
    count(*) as cases,
    count(generated) as generated,
    count(*) filter (where generated is not null and generated_class is null) as unparseable,
    unparseable / nullif(count(generated), 0) as unparseable_share,
    count(*) filter (where generated_class = predicted) / nullif(count(generated), 0) as same_as_predicted,
    count(*) filter (where generated_class = truth.class_name)
    / nullif(count(*) filter (where generated is not null and truth.class_name is not null), 0) as accuracy,
    count(*) filter (where predicted = truth.class_name)
    / nullif(count(truth.class_name), 0) as accuracy_as_predicted,
from predictions
inner join run_names on run_names.run_id = predictions.run_id
left join truth on truth.case_id = predictions.case_id
where run_names.name = $run
group by predictions.part
order by predictions.part;
