-- The cases that have a class today, of a part of a split, or all where there is no split ('').
select truth.case_id, cases.patient_id, truth.class_name,
from truth
inner join cases on cases.case_id = truth.case_id
where
    truth.class_name is not null
    and (
        $split_id = ''
        or truth.case_id in (select case_id from splits where split_id = $split_id and part = $part)
    )
order by truth.case_id;
