-- Patients, and photographs with identical pixels, that are in more than one part of a split.
with placed as (
    select splits.part, cases.patient_id, images.pixel_sha256,
    from splits
    inner join cases on cases.case_id = splits.case_id
    inner join images on images.image_id = cases.image_id
    where splits.split_id = $split_id
),
patients_apart as (
    select patient_id from placed group by patient_id having count(distinct part) > 1
),
photographs_apart as (
    select pixel_sha256
    from placed
    where pixel_sha256 is not null
    group by pixel_sha256
    having count(distinct part) > 1
)
select
    (select count(*) from placed) as cases,
    (select count(distinct patient_id) from placed) as patients,
    (select count(*) from patients_apart) as patients_in_two_parts,
    (select count(*) from photographs_apart) as photographs_in_two_parts;
