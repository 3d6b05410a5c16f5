-- Pairs of duplicate and near-duplicate photographs: those of two patients first, then different classes.
with photographs as (
    select
        images.image_id,
        images.path,
        images.sha256,
        images.patient_id,
        min(cases.case_id) as case_id,
        list_sort(list(distinct truth.class_name) filter (where truth.class_name is not null)) as classes,
    from images
    left join cases on cases.image_id = images.image_id
    left join truth on truth.case_id = cases.case_id
    group by all
)
select
    case
        when label_states.patient_from = 'none' or one.patient_id is null or other.patient_id is null then 'unknown'
        when one.patient_id = other.patient_id then 'within'
        else 'across'
    end as patients,
    duplicates.relation,
    duplicates.score,
    duplicates.change,
    one.case_id,
    other.case_id as other_case_id,
    one.patient_id,
    other.patient_id as other_patient_id,
    array_to_string(coalesce(one.classes, []), ', ') as class_name,
    array_to_string(coalesce(other.classes, []), ', ') as other_class_name,
    one.path,
    one.sha256,
    other.path as other_path,
    other.sha256 as other_sha256,
from duplicates
inner join photographs as one on one.image_id = duplicates.image_id
inner join photographs as other on other.image_id = duplicates.other_image_id
cross join label_states
order by
    list_position(['across', 'unknown', 'within'], patients),
    one.classes = other.classes,
    duplicates.score,
    duplicates.image_id,
    duplicates.other_image_id;
