-- Every reading of a case with a reference diagnosis: who, which class, how long it took, whether its box leaves the photograph.
select
    readings.case_id,
    readings.label_id,
    coalesce(readings.annotator, '') as annotator,
    readings.class_name,
    labels.seconds_to_create as seconds,
    median(labels.seconds_to_create) over (partition by readings.annotator) as usual_seconds,
    coalesce(
        objects.box_left < 0 or objects.box_top < 0
            or objects.box_left + objects.box_width > images.width
            or objects.box_top + objects.box_height > images.height,
        false
    ) as over_edge,
from readings
inner join truth on truth.case_id = readings.case_id
inner join labels on labels.label_id = readings.label_id and labels.revision = readings.revision
inner join images on images.image_id = labels.image_id
left join objects
    on objects.label_id = readings.label_id
    and objects.revision = readings.revision
    and objects.object_id = readings.object_id
where truth.class_name is not null
order by readings.case_id, readings.label_id, over_edge;
