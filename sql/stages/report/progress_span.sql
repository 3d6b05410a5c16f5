-- The labels of the study that are still there: how many, by how many annotators, from when to when.
select
    count(*) as labels,
    count(*) filter (where skipped) as skipped,
    count(*) filter (where coalesce(created_at, updated_at) is null) as undated,
    count(*) filter (where annotator is null) as by_unknown,
    count(distinct annotator) as annotators,
    min(coalesce(created_at, updated_at))::date as first_at,
    max(coalesce(created_at, updated_at))::date as last_at,
from labels
where kind = 'label' and in_study and latest and deleted_by is null;
