-- What does the data set hold?
select
    count(*) as cases,
    count(reference_diagnosis) as with_reference_diagnosis,
    count(distinct file_name) as photographs,
    count(*) filter (where file_name is null) as cases_without_photograph,
    count(distinct patient_id) as patients,
    count(distinct (patient_id, lesion_id)) filter (where lesion_id is not null) as identified_lesions,
    (select count(*) from 'readings.parquet') as readings,
    (select count(distinct annotator) from 'readings.parquet') as annotators,
from 'labels.parquet';
