-- How many patients are alike in all fields by which somebody who knows them might find them?
with persons as (
    select patient_id, list_sort(list(distinct [{columns}])) as pattern,
    from 'labels.parquet'
    group by patient_id
),
alike as (
    select pattern, count(*) as patients,
    from persons
    group by pattern
)
select
    count(*) as groups,
    min(patients) as smallest_group,
    count(*) filter (where patients = 1) as unique_patients,
    coalesce(sum(patients) filter (where patients < {least}), 0)::bigint as patients_in_small_groups,
from alike;
