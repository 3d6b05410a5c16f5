-- What each export held (counted in raw JSON) and where it went (counted in the merged tables).
with status as (
    select lines.*, line_status.status,
    from lines
    inner join line_status on line_status.export_id = lines.export_id and line_status.line = lines.line
),
counted as (
    unpivot (
        select export_id, status, n_row as row, n_project as project, n_label as label, n_answer as answer,
            n_object as object, n_relationship as relationship, n_prediction as prediction,
        from status
    )
    on row, project, label, answer, object, relationship, prediction into name noun value times
),
summed as (
    select
        export_id,
        noun,
        coalesce(sum(times) filter (where status <> 'repeated'), 0) as read,
        coalesce(sum(times) filter (where status = 'quarantined'), 0) as quarantined,
        coalesce(sum(times) filter (where status = 'repeated'), 0) as repeated,
    from counted
    group by export_id, noun
),
-- What stored rows hold where nothing is read.
passed_over as (
    select unread.export_id, unread.noun, sum(unread.times)::bigint as times,
    from unread
    inner join stored_lines on stored_lines.export_id = unread.export_id and stored_lines.line = unread.line
    group by unread.export_id, unread.noun
),
own_labels as (
    select labels.export_id, merged.label_id, merged.revision, merged.kind,
    from labels
    inner join stored_lines on stored_lines.export_id = labels.export_id and stored_lines.line = labels.line
    inner join merged_labels as merged
        on merged.label_id = labels.label_id and merged.content_sha256 = labels.content_sha256
),
kept as (
    select stored_lines.export_id, 'row' as noun, count(*) as stored,
    from stored_lines
    inner join merged_images on merged_images.image_id = stored_lines.image_id
    group by stored_lines.export_id
    union all
    select projects.export_id, 'project', count(*),
    from projects
    inner join stored_lines on stored_lines.export_id = projects.export_id and stored_lines.line = projects.line
    inner join merged_projects as merged
        on merged.image_id = projects.image_id and merged.project_id = projects.project_id
    group by projects.export_id
    union all
    select export_id, if(kind = 'prediction', 'prediction', 'label') as noun, count(*),
    from own_labels
    group by export_id, noun
    union all
    select own_labels.export_id, 'object', count(*),
    from own_labels
    inner join merged_objects using (label_id, revision)
    group by own_labels.export_id
    union all
    select own_labels.export_id, 'answer', count(*),
    from own_labels
    inner join merged_answers using (label_id, revision)
    group by own_labels.export_id
    union all
    select own_labels.export_id, 'relationship', count(*),
    from own_labels
    inner join merged_relationships using (label_id, revision)
    group by own_labels.export_id
)
select
    summed.export_id,
    summed.noun,
    read,
    coalesce(stored, 0) as stored,
    quarantined + coalesce(passed_over.times, 0) as quarantined,
    repeated,
from summed
left join passed_over on passed_over.export_id = summed.export_id and passed_over.noun = summed.noun
left join kept on kept.export_id = summed.export_id and kept.noun = summed.noun
union all
select review_id, noun, rows, rows, 0, 0,
from review_files
cross join (select unnest(['row', 'label', 'answer']) as noun)
order by export_id, noun;
