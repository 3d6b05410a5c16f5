-- Which errors was a run most confident about? Check these photographs and their labels first.
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
-- $limit = 20: most rows to show
select
    case_id,
    patient_id,
    truth,
    predicted,
    confidence,
from misclassified
inner join run_names on run_names.run_id = misclassified.run_id
where run_names.name = $run and part = $part
order by confidence desc, case_id
limit cast($limit as bigint);
