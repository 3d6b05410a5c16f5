-- Patients of a split's test set that an earlier run was trained on or watched, and of validation that it was trained on.
with earlier as (
    select splits.part, cases.patient_id
    from splits
    inner join cases on cases.case_id = splits.case_id
    where splits.split_id = $start_split_id and splits.part in ('train', 'validation')
)

select splits.part, count(distinct cases.patient_id) as patients
from splits
inner join cases on cases.case_id = splits.case_id
inner join earlier on earlier.patient_id = cases.patient_id
where
    splits.split_id = $split_id
    and (splits.part = 'test' or (splits.part = 'validation' and earlier.part = 'train'))
group by splits.part
order by splits.part;
