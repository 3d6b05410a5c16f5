-- Which malignant cases does a run take for benign, the most confident first?
-- $run = latest: run ID, or latest
-- $run among run_names.name
-- $part = test: subset of the split
-- $part among train, validation, test, external
select
    misclassified.case_id,
    misclassified.patient_id,
    misclassified.truth,
    misclassified.predicted,
    misclassified.confidence,
from misclassified
inner join run_names on run_names.run_id = misclassified.run_id
inner join classes as of_truth on of_truth.class_name = misclassified.truth
inner join classes as said on said.class_name = misclassified.predicted
where run_names.name = $run and part = $part and of_truth.malignant and not said.malignant
order by misclassified.confidence desc, misclassified.case_id;
