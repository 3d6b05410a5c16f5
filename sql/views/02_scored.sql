-- Every prediction of every run and control beside the reference diagnosis of its case, where there is one; `results` has those of the newest run.
create or replace view scored as
select
    predictions.run_id,
    predictions.part,
    predictions.case_id,
    cases.patient_id,
    truth.class_name as truth,
    predictions.predicted,
    predictions.confidence,
    predictions.label_mass,
    predictions.probabilities,
from predictions
inner join cases on cases.case_id = predictions.case_id
inner join truth on truth.case_id = predictions.case_id
where truth.class_name is not null and predictions.part <> 'unlabelled'; -- those chose what to label next
