-- Cases of the scored parts of a run that have a reference diagnosis and no prediction, by class.
select
    splits.part,
    truth.class_name,
    count(*) as cases,
    count(distinct cases.patient_id) as patients,
from splits
inner join cases on cases.case_id = splits.case_id
inner join truth on truth.case_id = splits.case_id
left join predictions
    on predictions.run_id = $run_id
    and predictions.part = splits.part
    and predictions.case_id = splits.case_id
where
    splits.split_id = $split_id
    and splits.part = $part
    and truth.class_name is not null
    and predictions.case_id is null
group by splits.part, truth.class_name
order by truth.class_name;
