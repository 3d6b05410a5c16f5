-- The cohort from rows of the exports to cases of the split: what each stage counts, and what was excluded before it.
with read as (
    select
        coalesce(sum(read), 0)::bigint as rows_read,
        coalesce(sum(stored), 0)::bigint as rows_stored,
    from conservation
    where noun = 'row'
),
excluded as (
    select stage, reason, count(*) as number from excluded_from($split_id) group by stage, reason
    union all
    select 'photographs', 'photograph already stored with another row or export', rows_stored - (select count(*) from images)
    from read
    where rows_stored > (select count(*) from images)
),
counted as (
    select 1 as place, 'rows read' as stage, (select rows_read from read) as number
    union all
    select 2, 'rows stored', (select rows_stored from read)
    union all
    select 3, 'photographs', (select count(*) from images)
    union all
    select 4, 'photographs with a case', (select count(distinct image_id) from cases)
    union all
    select 5, 'cases', (select count(*) from cases)
    union all
    select 6, 'cases with a class', (select count(*) from truth where class_name is not null)
    union all
    select 7, 'cases in the split', (select count(*) from splits where split_id = $split_id)
)
select place, stage, null as reason, number, from counted
union all
select counted.place, excluded.stage, excluded.reason, excluded.number,
from excluded
inner join counted on counted.stage = excluded.stage
order by place, reason nulls first;
