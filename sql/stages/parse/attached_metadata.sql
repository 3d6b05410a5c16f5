-- The values of attached columns as metadata of the photographs; a field that the exports have goes before.
create table attached_metadata as
with of_exports as (
    select distinct lower(name) as name,
    from metadata
    semi join newest using (export_id, line)
)
select distinct
    merged_images.image_id,
    attached_rows.name,
    'attached ' || attached_rows.kind as kind,
    attached_rows.value,
from attached_rows
inner join merged_images on merged_images.patient_id = attached_rows.patient_id
anti join of_exports on of_exports.name = lower(attached_rows.name);
