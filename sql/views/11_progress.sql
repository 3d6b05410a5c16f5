-- One row per week (from Monday, UTC) in which something was labelled or reviewed, with the sums up to then.
create or replace view progress as
with cases_read as (
    select readings.case_id, min(coalesce(labels.created_at, labels.updated_at)) as first_at,
    from readings
    inner join labels on labels.label_id = readings.label_id and labels.revision = readings.revision
    group by readings.case_id
),
events as (
    select coalesce(created_at, updated_at) as happened_at, 1 as labels, 0 as cases, 0 as verdicts,
    from labels
    where latest and deleted_by is null and kind = 'label' and in_study
    union all
    select first_at, 0, 1, 0,
    from cases_read
    union all
    select reviewed_at, 0, 0, 1,
    from verdicts
),
weeks as (
    select
        date_trunc('week', happened_at)::date as week,
        sum(labels)::bigint as labels,
        sum(cases)::bigint as cases,
        sum(verdicts)::bigint as verdicts,
    from events
    where happened_at is not null
    group by all
)
select
    week, -- Its Monday.
    labels, -- Labels of the study's projects that were made in it and are still there, verdicts included.
    cases, -- Cases that were read for the first time in it.
    verdicts, -- Verdicts of reviewers.
    sum(labels) over (order by week)::bigint as labels_so_far, -- Labels up to the end of the week.
    sum(cases) over (order by week)::bigint as cases_so_far, -- Cases read up to the end of the week.
from weeks;
