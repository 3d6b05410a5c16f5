-- Predictions of another model, read from a file, are a run of their own.

alter table runs add column source_sha256 text; -- SHA-256 of the file that the predictions were read from; NULL = predicted here.

comment on column predictions.probabilities is 'Probability per class; sums to 1, but for a run from a file that gives a score of each class by itself, or the predicted class alone.';
comment on column operating_points.rule is 'How the threshold was chosen: sensitivity or youden; fixed = it is 0.5, for scores of each class by itself.';
comment on column operating_points.required is 'Required sensitivity; NaN where the threshold is fixed.';
