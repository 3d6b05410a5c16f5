-- Which patients have the most errors?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
-- $limit = 20: most rows to show
select
    patient_id,
    count(*) as cases,
    count(*) filter (where truth <> predicted) as errors,
    list(distinct truth order by truth) as classes,
from scored
inner join run_names on run_names.run_id = scored.run_id
where run_names.name = $run and part = $part
group by patient_id
having errors > 0
order by errors desc, cases, patient_id
limit cast($limit as bigint);
