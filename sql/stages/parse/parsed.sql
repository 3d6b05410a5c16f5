-- What the registry holds after parsing, in one row.
with resolved as materialized (
    select resolved_by, count(*) as cases, count(class_name) as with_class,
    from truth
    group by resolved_by
)
select
    (select count(*) from exports where export_id not in (select first_export from labels where project_id = 'review')) as exports,
    (
        select coalesce(sum(read), 0)::bigint
        from conservation
        where noun = 'row' and export_id not in (select first_export from labels where project_id = 'review')
    ) as rows,
    (select coalesce(sum(quarantined), 0)::bigint from conservation where noun = 'row') as rows_quarantined,
    (select count(*) from images) as photographs,
    (select count(*) from images where sha256 is not null) as photographs_opened,
    (select count(*) from patients) as patients,
    (select count(*) from findings where kind = 'similar_patient_ids') as similar_patients,
    (select count(*) from labels where latest and deleted_by is null and kind = 'label') as labels,
    (select count(*) from cases) as cases,
    (select count(*) from cases where roi_width is not null) as with_roi,
    (select coalesce(sum(with_class), 0)::bigint from resolved) as resolved,
    (select coalesce(sum(cases), 0)::bigint from resolved where resolved_by = 'tie') as tied,
    (select count(*) from cases where unread is not null) as unread,
    (select coalesce(sum(cases), 0)::bigint from resolved where resolved_by = 'not_counted') as not_counted,
    (
        select coalesce(list({'rule': resolved_by, 'cases': with_class} order by with_class desc, resolved_by), [])
        from resolved
        where with_class > 0
    ) as decided,
    (select count(distinct moment) from exports) as moments,
    (select count(distinct label_id) from labels where deleted_by is not null) as labels_deleted,
    (select coalesce(list(distinct project order by project), []) from projects where not in_study) as projects_elsewhere,
    (
        select count(*)
        from images
        where image_id not in (select image_id from projects where in_study)
    ) as photographs_elsewhere,
    (select patient_from <> 'none' from label_states) as patients_known,
    (select truth_id from label_states) as truth_id,
    (select content_hash from label_states) as content_hash;
