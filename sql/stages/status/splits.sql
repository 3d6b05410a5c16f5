-- The splits, newest first, and how many cases today's labels would add, drop or class otherwise.
with resolved as (
    select case_id, class_name,
    from truth
    where class_name is not null
),
known as (
    select split_id, max(created_at) as created_at,
    from splits
    group by split_id
),
compared as (
    select known.split_id, resolved.case_id, splits.class_name is distinct from resolved.class_name as changed,
    from known
    cross join resolved
    left join splits on splits.split_id = known.split_id and splits.case_id = resolved.case_id
    union all
    select splits.split_id, splits.case_id, true,
    from splits
    left join resolved on resolved.case_id = splits.case_id
    where resolved.case_id is null
)
select
    known.split_id,
    (select count(*) from splits where splits.split_id = known.split_id) as cases,
    exists (from splits where splits.split_id = known.split_id and splits.part = 'external') as external,
    count(*) filter (where changed) as changed_cases,
from known
left join compared on compared.split_id = known.split_id
group by known.split_id, known.created_at
order by known.created_at desc, known.split_id;
