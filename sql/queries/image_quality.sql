-- What does the run lose where photographs are worse (predict --degrade), and how many predictions of each class flip?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
with known as (
    select *,
    from comparisons
    union all by name
    select null::boolean as too_few, -- a registry of an earlier version lacks it
    where false
),

degraded as (
    select
        runs.run_id,
        runs.control_of,
        split_part(runs.control, ':', 1) as kind,
        try_cast(split_part(runs.control, ':', 2) as double) as level,
    from run_names
    inner join runs on runs.control_of = run_names.run_id
    where
        run_names.name = $run
        and contains(runs.control, ':')
        and not starts_with(runs.control, 'patients:') -- trained on fewer patients
),

flips as (
    select
        degraded.run_id,
        own.truth as class_name,
        count(*) filter (own.predicted = own.truth and worse.predicted <> own.truth) as became_wrong,
        count(*) filter (own.predicted <> own.truth and worse.predicted = own.truth) as became_right,
        count(*) filter (own.predicted <> worse.predicted) as flipped,
        count(*) as cases,
        count(distinct own.patient_id) as patients,
    from degraded
    inner join scored as own on own.run_id = degraded.control_of
    inner join scored as worse
        on worse.run_id = degraded.run_id
        and worse.part = own.part
        and worse.case_id = own.case_id
    where own.part = $part
    group by grouping sets ((degraded.run_id, own.truth), (degraded.run_id))
)

select
    degraded.kind,
    degraded.level,
    known.metric,
    flips.class_name,
    known.value,
    known.other_value as degraded,
    known.difference,
    known.low,
    known.high,
    known.p,
    flips.became_wrong,
    flips.became_right,
    flips.flipped,
    flips.cases,
    flips.patients,
    known.too_few,
    degraded.run_id as degraded_run_id,
from degraded
inner join flips on flips.run_id = degraded.run_id
inner join known
    on known.run_id = degraded.control_of
    and known.other_run_id = degraded.run_id
    and known.part = $part
    and known.cause = 'model'
    and known.class_name is not distinct from flips.class_name
    and known.metric in ('recall', 'macro_recall', 'macro_roc_auc', 'accuracy')
order by
    list_position(
        ['blur', 'jpeg', 'white-balance', 'exposure', 'resolution', 'noise', 'roi-shift', 'roi-scale'],
        degraded.kind
    ),
    degraded.level,
    flips.class_name is not null,
    list_position(['macro_recall', 'macro_roc_auc', 'accuracy', 'recall'], known.metric),
    flips.class_name;
