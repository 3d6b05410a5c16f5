-- Cases, photographs and patients of a split by part, class and every metadata field of few values; part NULL = all.
with placed as (
    select splits.part, splits.class_name, cases.case_id, cases.image_id, cases.patient_id,
    from splits
    inner join cases on cases.case_id = splits.case_id
    where splits.split_id = $split_id
),
fields as (
    select metadata.name,
    from metadata
    semi join placed on placed.image_id = metadata.image_id
    group by metadata.name
    having count(distinct metadata.value) between 2 and 12
),
described as (
    select placed.*, 0 as place, 'class' as stratum, class_name as level,
    from placed
    union all
    select placed.*, 1, fields.name, coalesce(values.value, 'not given'),
    from placed
    cross join fields
    left join (select image_id, name, min(value) as value from metadata group by image_id, name) as values
        on values.image_id = placed.image_id and values.name = fields.name
)
select
    stratum,
    level,
    part,
    count(*) as cases,
    count(distinct image_id) as photographs,
    count(distinct patient_id) as patients,
from described
group by grouping sets ((place, stratum, level, part), (place, stratum, level), (place, stratum, part), (place, stratum))
order by place, stratum, level nulls last, list_position(['train', 'validation', 'test', 'external'], part) nulls last;
