-- What became of the rows of the exports, from reading to the parts of one split.
with read as (
    select
        coalesce(sum(read), 0)::bigint as rows_read,
        coalesce(sum(stored), 0)::bigint as rows_stored,
        coalesce(sum(quarantined), 0)::bigint as quarantined,
        coalesce(sum(repeated), 0)::bigint as repeated,
    from conservation
    where noun = 'row'
)
select
    read.*,
    (select count(*) from images) as photographs,
    (select count(*) from cases) as cases,
    (select count(distinct patient_id) from cases) as patients,
    (select count(*) from truth where class_name is not null) as resolved,
    (select count(*) from truth where class_name is null) as unresolved,
    (select count(*) from splits where split_id = $split_id) as in_split,
from read;
