-- The cases of a split with the digest of their photograph and the fingerprint of the pseudonym key.
select splits.case_id, cases.patient_id, images.pixel_sha256, label_states.key_fingerprint,
from splits
inner join cases on cases.case_id = splits.case_id
inner join images on images.image_id = cases.image_id
cross join label_states
where splits.split_id = $split_id
order by splits.case_id;
