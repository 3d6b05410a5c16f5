-- What are a run's scores with the labels as they were when a queue was made, with what reviewers say, and with the suggestions too?
-- $queue = latest: queue ID, or latest
-- $queue among queues.queue_id
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
with chosen as (
    select queue_id
    from queues
    where $queue in (queue_id, 'latest')
    order by made_at desc, queue_id
    limit 1
),
cases_of_run as (
    select predictions.case_id, predictions.predicted, truth.class_name, items.*,
    from predictions
    inner join run_names on run_names.run_id = predictions.run_id
    inner join truth on truth.case_id = predictions.case_id
    left join (from queue_outcomes where queue_id in (from chosen)) as items on items.case_id = predictions.case_id
    where run_names.name = $run and predictions.part = $part and exists (from chosen)
),
labelled as (
    unpivot (
        select
            predicted,
            if(queue_id is null, class_name, class_name_1) as before,
            if(queue_id is null, class_name, class_reviewed) as reviewed,
            if(queue_id is null, class_name, class_suggested) as suggested,
        from cases_of_run
    ) on before, reviewed, suggested into name labels value truth
),
of_classes as (
    select labels, truth as class_name, count(*) as actual, 0 as predicted, count(*) filter (where truth = predicted) as tp
    from labelled
    group by labels, truth
    union all
    select labels, predicted, 0, count(*), 0
    from labelled
    group by labels, predicted
),
counts as (
    select labels, class_name, sum(actual) as actual, sum(predicted) as predicted, sum(tp) as tp
    from of_classes
    group by labels, class_name
),
rates as (
    unpivot (
        select
            labels,
            class_name,
            2 * tp / (actual + predicted) as f1,
            if(actual > 0, tp / actual, null) as recall,
            if(predicted > 0, tp / predicted, null) as precision,
        from counts
    ) on f1, recall, precision into name metric value value
),
scores as (
    from rates
    union all by name
    select labels, 'macro_' || metric as metric, avg(value) as value from rates group by labels, metric
    union all by name
    select labels, 'accuracy' as metric, sum(tp) / sum(actual) as value from counts group by labels
)
select
    metric,
    class_name,
    max(value) filter (where labels = 'before') as before,
    max(value) filter (where labels = 'reviewed') as reviewed,
    max(value) filter (where labels = 'suggested') as suggested,
from scores
group by metric, class_name
order by class_name nulls first, metric;
