-- What share of all labels is wrong, and what would a run's accuracy be with all of them corrected, by the patients that a queue drew at random?
-- $queue = latest: queue ID, or latest
-- $queue among queues.queue_id
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
with chosen as (
    select queue_id, cases, patients,
    from queues
    where $queue in (queue_id, 'latest')
    order by made_at desc, queue_id
    limit 1
),
items as (
    from queue_outcomes
    where queue_id in (select queue_id from chosen)
),
finished as (
    select patient_id
    from items
    group by patient_id
    having bool_or(drawn_from = 'all') and not bool_or(outcome = 'untouched')
),
drawn as (
    select case_id, patient_id, outcome = 'changed' as is_wrong, class_reviewed,
    from items
    where patient_id in (from finished) and outcome in ('confirmed', 'changed')
),
scored as (
    select
        predictions.case_id,
        cases.patient_id,
        predictions.predicted = if(items.case_id is null, truth.class_name, items.class_name) as was_right,
        drawn.case_id is not null as is_drawn,
        predictions.predicted = drawn.class_reviewed as is_right,
    from predictions
    inner join run_names on run_names.run_id = predictions.run_id
    inner join cases on cases.case_id = predictions.case_id
    inner join truth on truth.case_id = predictions.case_id
    left join items on items.case_id = predictions.case_id
    left join drawn on drawn.case_id = predictions.case_id
    where run_names.name = $run and predictions.part = $part
        and if(items.case_id is null, truth.class_name, items.class_name) is not null
)
select
    'error rate of labels' as estimate,
    avg(is_wrong::int) as value,
    count(distinct drawn.patient_id) as patients,
    count(drawn.case_id) as cases,
    any_value(chosen.patients) as of_patients,
    any_value(chosen.cases) as of_cases,
from chosen
left join drawn on true
group by chosen.queue_id
union all
select
    'accuracy with all labels corrected',
    avg(was_right::int)
        + avg((is_right and not was_right)::int) filter (where is_drawn)
        - avg((was_right and not is_right)::int) filter (where is_drawn),
    count(distinct patient_id) filter (where is_drawn),
    count(*) filter (where is_drawn),
    count(distinct patient_id),
    count(*),
from scored
having count(*) > 0;
