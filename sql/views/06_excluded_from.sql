-- Rows, photographs and cases that did not reach a split, with the stage they did not reach, and why.
create or replace macro excluded_from(of_split) as table
with rows_out as (
    select 'rows stored' as stage, coalesce(min(reason), 'quarantined') as reason, export_id, line, image_id,
    from ingest_issues
    where level = 'row'
    group by export_id, line, byte_offset, image_id
),
photographs_out as (
    select
        'photographs with a case' as stage,
        case
            when bool_or(projects.in_study) then coalesce(min(ingest_issues.reason), 'no case')
            else 'in no project of the study'
        end as reason,
        any_value(images.export_id) as export_id,
        null::bigint as line,
        images.image_id,
    from images
    left join projects on projects.image_id = images.image_id
    left join ingest_issues on ingest_issues.image_id = images.image_id and ingest_issues.level = 'case'
    where images.image_id not in (select image_id from cases)
    group by images.image_id
),
cases_out as (
    select
        case when truth.class_name is null then 'cases with a class' else 'cases in the split' end as stage,
        case when truth.class_name is null then truth.resolved_by else 'not in this split' end as reason,
        truth.case_id,
    from truth
    where
        truth.class_name is null
        or truth.case_id not in (select case_id from splits where split_id = of_split)
)
select stage, reason, export_id, line, image_id, null as case_id, from rows_out
union all
select stage, reason, export_id, line, image_id, null, from photographs_out
union all
select cases_out.stage, cases_out.reason, null, null, cases.image_id, cases_out.case_id,
from cases_out
inner join cases on cases.case_id = cases_out.case_id;
