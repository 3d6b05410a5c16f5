-- The cases, how many of them have a reading and a reference diagnosis, and their patients.
select
    count(*) as cases,
    count(distinct cases.patient_id) as patients,
    count(*) filter (where cases.unread is null) as with_reading,
    count(*) filter (where truth.class_name is not null) as with_class,
from cases
inner join truth on truth.case_id = cases.case_id;
