-- Pairs of patients whose IDs differ so little that one may be a slip for the other, by what they differ in; `by_chance`
-- is how many pairs of that kind there would be if the IDs had been drawn from all that their digits can write.
create table similar_patients as
with stored as (
    select distinct patient_id
    from merged_images
    where patient_id is not null
),
keyed as (
    select distinct patient_keys.patient_id, how, key, possible,
    from patient_keys
    inner join stored on stored.patient_id = patient_keys.patient_id
),
sizes as (
    select how, possible, count(*) as n_keys, count(distinct patient_id) as patients,
    from keyed
    group by how, possible
),
chances as (
    select how, sum(n_keys * (patients - 1) / possible) / 2 as by_chance,
    from sizes
    group by how
)
select
    min(one.how) as how,
    one.patient_id,
    other.patient_id as other_patient_id,
    min(chances.by_chance) as by_chance,
from keyed as one
inner join keyed as other on other.how = one.how and other.key = one.key and other.patient_id > one.patient_id
inner join chances on chances.how = one.how
group by one.patient_id, other.patient_id;
