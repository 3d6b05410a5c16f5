-- Every case for other tools: its photograph, ROI, reference diagnosis, subset of a split, readings and metadata.
with said as (
    select
        case_id,
        list(
            {'annotator': annotator, 'class_name': class_name, 'counts': counts}
            order by annotator, class_name, counts, label_id, revision, object_id
        ) as readings,
    from readings
    group by case_id
),
described as (
    select image_id, map_from_entries(list((name, value) order by name)) as metadata,
    from (
        select image_id, name, string_agg(distinct value, ', ' order by value) as value
        from metadata
        group by all
    )
    group by image_id
)
select
    cases.case_id,
    cases.image_id,
    cases.patient_id,
    cases.lesion_id,
    truth.class_name,
    truth.resolved_by,
    splits.part,
    images.width,
    images.height,
    cases.roi_left,
    cases.roi_top,
    cases.roi_width,
    cases.roi_height,
    images.path,
    images.sha256,
    coalesce(said.readings, []) as readings,
    described.metadata,
from cases
inner join images on images.image_id = cases.image_id
inner join truth on truth.case_id = cases.case_id
left join splits on splits.case_id = cases.case_id and splits.split_id = $split_id
left join said on said.case_id = cases.case_id
left join described on described.image_id = cases.image_id
order by cases.case_id;
