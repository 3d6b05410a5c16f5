-- The cases that can be reviewed, with their reference diagnosis, and where a reviewer's last verdict stands.
select truth.case_id, cases.image_id, cases.patient_id, truth.class_name,
from truth
inner join cases on cases.case_id = truth.case_id;
