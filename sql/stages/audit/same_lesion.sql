-- Photographs of one patient that look like one lesion, but for those that are duplicates anyway; and what the registry says.
with photographs as (
    select
        cases.image_id,
        min(cases.case_id) as case_id,
        any_value(cases.lesion_id) as lesion_id,
        any_value(truth.class_name) as class_name,
        count(*) as cases,
    from cases
    left join truth on truth.case_id = cases.case_id
    group by cases.image_id
),
copies as (
    select image_id, other_image_id from duplicates
    union
    select other_image_id, image_id from duplicates
),
pairs as (
    select
        same_lesion_pairs.*,
        one.case_id,
        other.case_id as other_case_id,
        one.cases > 1 or other.cases > 1 as several,
        one.lesion_id,
        other.lesion_id as other_lesion_id,
        one.class_name,
        other.class_name as other_class,
    from same_lesion_pairs
    inner join photographs as one on one.image_id = same_lesion_pairs.image_id
    inner join photographs as other on other.image_id = same_lesion_pairs.other_image_id
    anti join copies
        on copies.image_id = same_lesion_pairs.image_id and copies.other_image_id = same_lesion_pairs.other_image_id
)
select
    'same_lesion_within_patient' as kind,
    'audit' as source,
    case_id,
    other_case_id,
    features / matches as score,
    'photographs of one patient that look like one lesion: ' || features || ' of ' || matches || ' matching features agree; '
        || case
            when several then 'one of them has several cases'
            else case
                when lesion_id is null and other_lesion_id is null then 'neither has a lesion ID'
                when lesion_id is null or other_lesion_id is null then 'only one has a lesion ID'
                when lesion_id = other_lesion_id then 'they have the same lesion ID'
                else 'they have two lesion IDs'
            end || ', ' || case
                when class_name is null and other_class is null then 'neither has a reference diagnosis'
                when class_name is null or other_class is null then 'only one has a reference diagnosis'
                when class_name = other_class then 'the same reference diagnosis'
                else 'and two reference diagnoses: ' || class_name || ' and ' || other_class
            end
        end as detail,
from pairs
order by case_id, other_case_id;
