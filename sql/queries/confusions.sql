-- Which classes does a run confuse, most frequent confusions first?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
select
    truth,
    predicted,
    count(*) as cases,
    count(distinct patient_id) as patients,
    avg(confidence) as mean_confidence,
from misclassified
inner join run_names on run_names.run_id = misclassified.run_id
where run_names.name = $run and part = $part
group by truth, predicted
order by cases desc, truth, predicted;
