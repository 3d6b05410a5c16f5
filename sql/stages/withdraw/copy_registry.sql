-- Copies the registry into a new file, without what the files of splits and runs no longer hold.
insert into exports by name from old.exports;
insert into conservation by name from old.conservation;
insert into ingest_issues by name from old.ingest_issues;
insert into patients by name from old.patients;
insert into images by name from old.images;
insert into projects by name from old.projects;
insert into labels by name from old.labels;
insert into objects by name from old.objects;
insert into answers by name from old.answers;
insert into relationships by name from old.relationships;
insert into metadata by name from old.metadata;
insert into model_runs by name from old.model_runs;
insert into attachments by name from old.attachments;
insert into embeddings by name from old.embeddings;
insert into unknown_keys by name from old.unknown_keys;
insert into label_history by name from old.label_history;
insert into image_history by name from old.image_history;
insert into case_history by name from old.case_history;
insert into reading_history by name from old.reading_history;
insert into cases by name from old.cases;
insert into readings by name from old.readings;
insert into label_states by name from old.label_states;
insert into findings by name
select *
from old.findings
where (case_id is null or case_id in (select case_id from old.cases))
    and (other_case_id is null or other_case_id in (select case_id from old.cases));
insert into duplicates by name
select *
from old.duplicates
where image_id in (select image_id from old.images) and other_image_id in (select image_id from old.images);
insert into duplicate_searches by name from old.duplicate_searches;
insert into splits by name
select *
from old.splits as splits
semi join held_splits
    on held_splits.held_by = splits.split_id and held_splits.case_id = splits.case_id;
insert into runs by name from old.runs;
insert into epochs by name from old.epochs;
insert into predictions by name
select *
from old.predictions as predictions
semi join held_predictions
    on held_predictions.held_by = predictions.run_id and held_predictions.case_id = predictions.case_id;
insert into evaluations by name from old.evaluations;
insert into departures by name
select *
from old.departures as departures
semi join held_scores on held_scores.held_by = departures.run_id;
insert into scores by name
select *
from old.scores as scores
semi join held_scores on held_scores.held_by = scores.run_id;
insert into temperatures by name
select *
from old.temperatures as temperatures
semi join held_scores on held_scores.held_by = temperatures.run_id;
insert into calibration_bins by name
select *
from old.calibration_bins as calibration_bins
semi join held_scores on held_scores.held_by = calibration_bins.run_id;
insert into operating_points by name
select *
from old.operating_points as operating_points
semi join held_scores on held_scores.held_by = operating_points.run_id;
insert into guarantees by name
select *
from old.guarantees as guarantees
semi join held_scores on held_scores.held_by = guarantees.run_id;
insert into decision_curves by name
select *
from old.decision_curves as decision_curves
semi join held_scores on held_scores.held_by = decision_curves.run_id;
insert into subgroup_scores by name
select *
from old.subgroup_scores as subgroup_scores
semi join held_scores on held_scores.held_by = subgroup_scores.run_id;
insert into comparisons by name
select *
from old.comparisons as comparisons
semi join held_scores on held_scores.held_by = comparisons.run_id
semi join held_scores as held_others on held_others.held_by = comparisons.other_run_id;
insert into agreement by name
select *
from old.agreement as agreement
semi join held_scores on held_scores.held_by = agreement.run_id;
