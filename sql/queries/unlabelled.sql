-- What does a run say of the photographs that nobody has labelled, and how sure is it?
-- $run = latest: run ID, or latest
-- $run among run_names.name
select
    predictions.case_id,
    cases.image_id,
    cases.patient_id,
    predictions.predicted,
    predictions.confidence,
    list_sum(
        list_transform(
            map_values(predictions.probabilities),
            lambda share: if(share > 0, -share * ln(share), 0)
        )
    )
    / ln(cardinality(predictions.probabilities)) as uncertainty, -- entropy: 0 sure, 1 all classes alike
    exists (
        from splits
        inner join cases as trained on trained.case_id = splits.case_id
        where
            splits.split_id = runs.split_id
            and splits.part = 'train'
            and trained.patient_id = cases.patient_id
    ) as patient_in_training,
from run_names
inner join runs on runs.run_id = run_names.run_id
inner join predictions on predictions.run_id = runs.run_id
inner join cases on cases.case_id = predictions.case_id
where run_names.name = $run and predictions.part = 'unlabelled'
order by uncertainty desc, predictions.case_id;
