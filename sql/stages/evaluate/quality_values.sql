-- In which third of the study's photographs each scored case's photograph is, by what the audit measured of it.
with thirds as (
    select
        image_id,
        ntile(3) over (order by sharpness, image_id) as photograph_sharpness,
        ntile(3) over (order by brightness, image_id) as photograph_brightness,
        ntile(3) over (order by effective_pixels, image_id) as photograph_resolution,
    from photograph_quality
),
named as (
    unpivot thirds
    on photograph_sharpness, photograph_brightness, photograph_resolution
    into name group_name value third
)
select
    scored.case_id,
    named.group_name,
    ['lowest third', 'middle third', 'highest third'][named.third] as group_value,
from scored
inner join cases on cases.case_id = scored.case_id
inner join named on named.image_id = cases.image_id
where scored.run_id = $run_id and scored.part = $part
order by named.group_name, group_value, scored.case_id;
