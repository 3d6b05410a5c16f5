-- Every prediction beside the reference diagnosis that its case had at a moment of `exports`: `from scored_at(1)`. A patient is who it is known to be today; of a case that is no longer there, who it was then.
create or replace macro scored_at(moment_asked) as table
with lesions as (
    select distinct case_id, image_id,
    from case_history
)
select
    predictions.run_id,
    predictions.part,
    predictions.case_id,
    coalesce(cases.patient_id, photographs.patient_id) as patient_id,
    truth.class_name as truth,
    predictions.predicted,
    predictions.confidence,
    predictions.label_mass,
    predictions.probabilities,
from predictions
inner join truth_at(moment_asked) as truth on truth.case_id = predictions.case_id
inner join lesions on lesions.case_id = predictions.case_id
left join photographs_at(moment_asked) as photographs on photographs.image_id = lesions.image_id
left join cases on cases.case_id = predictions.case_id
where truth.class_name is not null;
