-- For which cases do the study's answers hold little of the model's probability ("none of these")?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $below = 0.5: label mass below which a case is listed
select
    part,
    predictions.case_id,
    predicted,
    confidence,
    label_mass,
from predictions
inner join run_names on run_names.run_id = predictions.run_id
where run_names.name = $run and label_mass < cast($below as double)
order by label_mass, case_id;
