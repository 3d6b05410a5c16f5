-- Every case with a reference diagnosis: whether annotators or other photographs speak against it, and whether a
-- reviewer has decided already.
with others as (
    select case_id, other_case_id
    from findings
    where kind in ('contradiction', 'disagreement', 'ambiguous_box', 'ambiguous_answer', 'unmatched_box')
),
named as (
    select case_id from others where case_id is not null
    union
    select other_case_id from others where other_case_id is not null
)
select
    truth.case_id,
    cases.patient_id,
    truth.class_name,
    truth.resolved_by = 'review' as is_reviewed,
    splits.part,
    truth.case_id in (select case_id from named) as others_say_so,
from truth
inner join cases on cases.case_id = truth.case_id
left join splits on splits.case_id = truth.case_id and splits.split_id = $split_id
where truth.class_name is not null
order by truth.case_id;
