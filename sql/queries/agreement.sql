-- How far do annotators agree beyond chance with each other, with the reference diagnosis and with the model?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
-- $class_name = : class against all others; empty = over all classes
-- $class_name among readings.class_name, scores.class_name
select measure, reader, other_reader, value, low, high, confidence, cases, patients, truth_id,
from agreement
inner join run_names on run_names.run_id = agreement.run_id
where run_names.name = $run and part = $part and coalesce(class_name, '') = $class_name
order by measure desc, reader, other_reader;
