-- What the study's own models say of cases that they were not trained on: the newest run on every split, and its
-- replicates, of the model that was trained last.
with own as (
    select run_id, split_id, model, finished_at, replicate_of,
    from runs
    where
        control is null
        and source_sha256 is null
        and model <> 'metadata-baseline'
),
newest as (
    select model
    from own
    where replicate_of is null
    order by finished_at desc, run_id
    limit 1
),
chosen as (
    select own.run_id, own.split_id,
    from own
    inner join newest on newest.model = own.model
    where own.replicate_of is null
    qualify row_number() over (partition by own.split_id order by own.finished_at desc, own.run_id) = 1
),
trained as (
    select run_id, split_id,
    from chosen
    union all
    select own.run_id, own.split_id,
    from own
    inner join chosen on chosen.run_id = own.replicate_of
)
select predictions.run_id, predictions.case_id, predictions.probabilities,
from predictions
inner join trained on trained.run_id = predictions.run_id
inner join splits on splits.split_id = trained.split_id and splits.case_id = predictions.case_id
where splits.part in ('validation', 'test') and predictions.part = splits.part
order by predictions.case_id, predictions.run_id;
