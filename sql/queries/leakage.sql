-- Is any patient or photograph in two subsets of a split? The right answer has no rows.
select
    splits.split_id,
    'patient' as what,
    cases.patient_id as which,
    list(distinct part order by part) as parts,
from splits
inner join cases on cases.case_id = splits.case_id
group by splits.split_id, cases.patient_id
having count(distinct part) > 1
union all
select
    splits.split_id,
    'photograph',
    min(cases.case_id),
    list(distinct part order by part),
from splits
inner join cases on cases.case_id = splits.case_id
inner join images on images.image_id = cases.image_id
where images.pixel_sha256 is not null
group by splits.split_id, images.pixel_sha256
having count(distinct part) > 1
order by split_id, what, which;
