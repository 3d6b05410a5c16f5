-- The field's words for what some tables and columns mean; 001 and 002 keep the bytes that workspaces recorded.

comment on table duplicates is 'Duplicate and near-duplicate photographs, found by comparing their pixels.';
comment on table runs is 'One trained model, one of its input ablations, or its use on another cohort.';
comment on column runs.control is 'Input ablation: what the photographs were replaced by; NULL for a run of its own.';
comment on column runs.control_of is 'The run that was ablated.';
comment on column scores.too_few is 'Fewer patients than the interval needs to cover what it states; of a macro average: in some class.';
comment on column operating_points.too_few is 'Fewer patients than the interval needs to cover what it states.';
comment on column operating_points.threshold is 'A case is flagged from this probability on.';
comment on table guarantees is 'Whether a subset has enough patients to confirm the sensitivity required of an operating point.';
comment on column guarantees.needed_without_a_miss is 'Patients it takes if every lesion of all of them is detected.';
comment on table calibration_bins is 'Reliability diagram: mean predicted probability beside observed frequency.';
comment on column calibration_bins.chance is 'Mean predicted probability.';
comment on column calibration_bins.came is 'Observed frequency.';
comment on table decision_curves is 'Net benefit of flagging cases by their probability, beside treat all and treat none.';
comment on column decision_curves.threshold is 'Probability from which a case is flagged; its odds are the cost of a false alarm.';
comment on column decision_curves.net_benefit is 'Of the model; treat none has 0.';
comment on column decision_curves.everyone is 'Of treat all.';
comment on column predictions.label_mass is 'Probability on the study''s answers, all together.';
comment on column predictions.wordings is 'Natural log-likelihood of each answer, as the model gives it.';
comment on column readings.counts is 'Whether the study''s policy lets it take part in the reference diagnosis.';
