-- How many cases of which reference diagnosis are in which subset?
select
    reference_diagnosis,
    bool_or(malignant) as malignant,
    count(*) as cases,
    count(distinct patient_id) as patients,
    count(*) filter (where part = 'train') as train,
    count(*) filter (where part = 'validation') as validation,
    count(*) filter (where part = 'test') as test,
    count(*) filter (where part = 'external') as external,
    count(*) filter (where part is null) as in_no_subset,
from 'labels.parquet'
group by reference_diagnosis
order by reference_diagnosis nulls last;
