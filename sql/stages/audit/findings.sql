-- What a person should look at: duplicate photographs, classes that contradict each other, readings that disagree.
with photographs as (
    select image_id, min(case_id) as case_id, any_value(patient_id) as patient_id, count(*) as cases,
    from cases
    group by image_id
),
pairs as (
    select
        duplicates.*,
        one.case_id as case_id,
        other.case_id as other_case_id,
        one.cases = 1 and other.cases = 1 as one_lesion_each,
        case
            when one.patient_id = other.patient_id then 'within'
            when label_states.patient_from = 'none' then 'unknown'
            else 'across'
        end as patients,
    from duplicates
    inner join photographs as one on one.image_id = duplicates.image_id
    inner join photographs as other on other.image_id = duplicates.other_image_id
    cross join label_states
),
classed as (
    select cases.case_id, cases.patient_id, cases.lesion_id, truth.class_name,
    from cases
    inner join photographs on photographs.image_id = cases.image_id and photographs.cases = 1
    inner join truth on truth.case_id = cases.case_id
    where truth.class_name is not null
),
of_one_lesion as (
    select
        case_id as other_case_id,
        min(case_id) over (partition by patient_id, lesion_id) as case_id,
        'photographs of one lesion' as subject,
    from classed
    where lesion_id is not null
    union all
    select other_case_id, case_id, 'duplicate photographs',
    from pairs
    where one_lesion_each
),
contradictions as (
    select one.case_id, other.case_id as other_case_id, min(subject) as subject, one.class_name, other.class_name as other_class,
    from of_one_lesion
    inner join classed as one on one.case_id = of_one_lesion.case_id
    inner join classed as other on other.case_id = of_one_lesion.other_case_id
    where one.class_name <> other.class_name
    group by all
),
values_of_patients as (
    select images.patient_id, metadata.name, count(distinct metadata.value) as n_values,
    from metadata
    inner join images on images.image_id = metadata.image_id
    where images.patient_id is not null and metadata.kind is distinct from 'CustomMetadataDateTime'
    group by images.patient_id, metadata.name
    having count(*) > 1
),
of_photographs as (
    select name
    from values_of_patients
    group by name
    having avg(n_values) > 1.1
),
equal_metadata as (
    select pairs.case_id, pairs.other_case_id, count(*) as fields,
    from pairs
    inner join metadata as one on one.image_id = pairs.image_id
    inner join metadata as other on other.image_id = pairs.other_image_id and other.name = one.name
    anti join of_photographs on of_photographs.name = one.name
    where pairs.patients = 'across' and one.kind is distinct from 'CustomMetadataDateTime'
    group by pairs.case_id, pairs.other_case_id
    having count(*) >= 2 and bool_and(one.value = other.value)
),
disagreements as (
    select
        case_id,
        count(*) as readings,
        count(distinct class_name) as classes,
        list_sort(list(distinct class_name)) as class_names,
    from readings
    group by case_id
    having count(distinct class_name) > 1
)
select
    if(patients = 'within', 'duplicate_within_patient', relation) as kind,
    'audit' as source,
    case_id,
    other_case_id,
    score,
    if(relation = 'near_duplicate', 'near-duplicate', 'duplicate') || ' photographs ' || case patients
        when 'within' then 'of one patient'
        when 'unknown' then 'of unknown patients'
        else 'of two patients'
    end || ': ' || change as detail,
from pairs
union all
select
    'second_patient_id',
    'audit',
    case_id,
    other_case_id,
    null,
    'duplicate photographs of two patients, whose ' || fields || ' metadata fields are all equal: one person under two IDs?',
from equal_metadata
union all
select
    'contradiction',
    'audit',
    case_id,
    other_case_id,
    1.0,
    subject || ' have the classes ' || class_name || ' and ' || other_class,
from contradictions
union all
select
    'disagreement',
    'audit',
    disagreements.case_id,
    null,
    1 - truth.votes / truth.readings,
    disagreements.readings || ' readings give ' || array_to_string(class_names, ', ')
        || if(truth.class_name is null, '; unresolved', '; resolved as ' || truth.class_name),
from disagreements
inner join truth on truth.case_id = disagreements.case_id
union all
select
    'suspect_label',
    'audit',
    case_id,
    null,
    score,
    if(score > 0.5, 'probably ', 'perhaps ') || suggested_class
        || if(suggested_probability > 0.99, ' (> 0.99)', format(' ({:.2f})', suggested_probability))
        || ' and not ' || class_name || ': ' || reasons,
from label_evidence
where listed
order by kind, case_id, other_case_id;
