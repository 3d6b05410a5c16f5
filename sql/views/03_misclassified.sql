-- Every case that a run or a control got wrong; `errors` has those of the newest run. Ordered by confidence, the most confident errors come first.
create or replace view misclassified as
select
    scored.run_id,
    scored.part,
    scored.case_id,
    scored.patient_id,
    scored.truth,
    scored.predicted,
    scored.confidence,
    images.path,
from scored
inner join cases on cases.case_id = scored.case_id
inner join images on images.image_id = cases.image_id
where scored.truth <> scored.predicted;
