-- How do thresholds chosen on validation perform, and do the patients confirm the required sensitivity?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
select
    points.target,
    points.classes,
    points.rule,
    points.required,
    points.threshold,
    points.metric,
    points.value,
    points.low,
    points.high,
    points.confidence,
    points.cases,
    points.patients,
    points.too_few,
    guarantees.positives,
    guarantees.found,
    coalesce(
        guarantees.patients,
        max(points.patients) filter (where points.metric = 'recall') over (partition by points.target)
    ) as patients_to_be_found,
    guarantees.patients_found,
    guarantees.at_least,
    -- of earlier versions only the patients were asked
    guarantees.vouched
    and coalesce(
        max(points.low) filter (where points.metric = 'recall') over (partition by points.target) >= points.required,
        false
    ) as vouched,
    guarantees.needed_without_a_miss,
    guarantees.needed,
    points.truth_id,
    points.query,
from operating_points as points
left join guarantees -- a fixed threshold has none
    on guarantees.run_id = points.run_id
    and guarantees.part = points.part
    and guarantees.target = points.target
inner join run_names on run_names.run_id = points.run_id
where run_names.name = $run and points.part = $part
order by
    points.target,
    points.metric like '%_at_%',
    list_position(['recall', 'specificity', 'precision', 'npv', 'f1', 'accuracy', 'benign_per_found'], points.metric),
    points.metric desc;
