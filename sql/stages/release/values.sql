-- Every metadata value of the photographs that have a case, with the patient of the cases.
select distinct metadata.image_id, cases.patient_id, metadata.name, metadata.value,
from metadata
inner join cases on cases.image_id = metadata.image_id
order by all;
