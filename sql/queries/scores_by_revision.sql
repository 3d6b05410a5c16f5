-- How well does a run score by each revision of the labels that it was scored against, and how many reference diagnoses changed before it?
-- $metric = macro_recall: metric
-- $metric among scores_as_of.metric, scores.metric
-- $class_name = : class; empty = over all classes
-- $class_name among readings.class_name, scores.class_name
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
with own as (
    select run_id,
    from run_names
    where name = $run
),

predicted as (
    select case_id,
    from predictions
    where run_id = (select run_id from own) and part = $part
),

kept as (
    select scores_as_of.*, exports.moment, scores_as_of.truth_id like label_states.policy || '-%' as is_by_policy,
    from scores_as_of
    inner join own on own.run_id = scores_as_of.run_id
    left join exports on exports.export_id = scores_as_of.export_id
    cross join label_states
    where
        scores_as_of.part = $part
        and scores_as_of.metric = $metric
        and coalesce(scores_as_of.class_name, '') = $class_name
),

revisions as (
    select
        *,
        lag(moment) over revision as moment_before,
        is_by_policy and lag(is_by_policy) over revision and lag(export_id) over revision <> export_id as is_of_labels,
    from kept
    window revision as (order by moment, export_id, truth_id)
),

diagnoses as (
    select moments.moment, held.case_id, held.class_name,
    from (select distinct moment from kept) as moments, lateral (from truth_at(moments.moment)) as held
),

changes as (
    select
        pairs.moment,
        pairs.moment_before,
        count(*) filter (where earlier.class_name is distinct from later.class_name) as changed,
    from (select distinct moment, moment_before from revisions where moment_before is not null) as pairs
    cross join predicted
    left join diagnoses as earlier
        on earlier.moment = pairs.moment_before and earlier.case_id = predicted.case_id
    left join diagnoses as later on later.moment = pairs.moment and later.case_id = predicted.case_id
    group by pairs.moment, pairs.moment_before
),

-- as in the view prediction_digests, which would read the predictions of all runs
digests as (
    select
        part,
        sha256(string_agg(concat_ws(chr(0), case_id, predicted, probabilities::text), chr(10) order by case_id)) as sha256,
    from predictions
    where run_id = (select run_id from own) and part = $part
    group by part
)

select
    revisions.export_id,
    revisions.latest_at,
    revisions.truth_id,
    revisions.value,
    revisions.low,
    revisions.high,
    revisions.confidence,
    revisions.cases,
    revisions.patients,
    revisions.too_few,
    if(revisions.is_of_labels, changes.changed, null) as changed_diagnoses,
    revisions.predictions_sha256 = digests.sha256 as same_predictions,
    revisions.method,
    revisions.query,
from revisions
left join changes
    on changes.moment = revisions.moment and changes.moment_before = revisions.moment_before
left join digests on digests.part = revisions.part
order by revisions.moment, revisions.export_id, revisions.truth_id;
