-- Labels by the week, month or year in which they were made, and by annotator; verdicts of reviews are labels too.
select
    date_trunc($period, coalesce(created_at, updated_at))::date as period,
    coalesce(annotator, 'not known') as annotator,
    count(*) as labels,
    count(*) filter (where skipped) as skipped,
    count(*) filter (where project_id = 'review') as verdicts,
    count(distinct image_id) as photographs,
from labels
where kind = 'label' and in_study and latest and deleted_by is null
group by all
order by period nulls last, annotator;
