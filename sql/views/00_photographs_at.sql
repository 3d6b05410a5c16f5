-- The photographs seen up to a moment of `exports`, with the patient of each then: `from photographs_at(1)`.
create or replace macro photographs_at(moment_asked) as table
select history.image_id, history.patient_id,
from image_history as history
inner join exports on exports.export_id = history.export_id
where exports.moment <= moment_asked
qualify row_number() over (
    partition by history.image_id order by exports.moment desc, history.patient_id desc nulls last, history.export_id
) = 1;
