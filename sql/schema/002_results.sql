-- What the stages after parse made. Splits and runs stand as files in the workspace; these tables mirror them.

create table splits ( -- Which part a case belongs to.
    split_id text not null, -- 8 hexadecimal digits over what determined it.
    case_id text not null, -- The case.
    part text not null check (part in ('train', 'validation', 'test', 'external')), -- The part.
    class_name text not null, -- The class it was stratified by.
    created_at timestamp not null, -- When the split was made (UTC).
    primary key (split_id, case_id),
);

create table runs ( -- One trained model, or one shown something else than the photographs.
    run_id text primary key, -- 8 hexadecimal digits over what determined it.
    split_id text not null, -- The split it was trained on.
    truth_id text not null, -- The truth it was trained on.
    model text not null, -- Where its weights came from: "tiny", a folder, a hub name.
    train_cases bigint not null, -- Cases it was trained on.
    train_patients bigint not null, -- Patients it was trained on.
    epochs bigint not null, -- Epochs trained.
    seconds double not null, -- Wall time of the training.
    device text not null, -- Device it was trained on.
    finished_at timestamp not null, -- When training ended (UTC).
    control text, -- Control the photographs were replaced by; NULL for a run of its own.
    control_of text, -- The run whose control this is.
);

create table epochs ( -- What was watched while training.
    run_id text not null references runs (run_id), -- The run.
    epoch bigint not null, -- From 1.
    metric text not null, -- train_loss, validation_loss, or a metric on validation.
    value double, -- NaN where undefined.
    primary key (run_id, epoch, metric),
);

create table predictions ( -- What a run says about a case.
    run_id text not null references runs (run_id), -- The run.
    part text not null, -- The part.
    case_id text not null, -- The case.
    predicted text not null, -- Most probable class.
    confidence double not null check (confidence between 0 and 1), -- Its probability.
    label_mass double not null check (label_mass between 0 and 1.0001), -- Probability the answers hold together.
    probabilities map(text, double) not null, -- Probability per class; sums to 1.
    log_likelihoods map(text, double) not null, -- Natural log-likelihood of each class: of all its wordings together.
    wordings map(text, double), -- Natural log-likelihood of each wording, as the model gives it.
    normalised text, -- Class whose wording is the most probable by the mean over its tokens.
    generated text, -- What the model said freely; NULL where it was not asked to.
    generated_class text, -- The class that names; NULL where it names none.
    primary key (run_id, part, case_id),
);

create table evaluations ( -- Every scoring of a part, so that nobody scores test in secret.
    run_id text not null references runs (run_id), -- The run.
    part text not null, -- The part.
    truth_id text not null, -- The truth it was scored against.
    scored_at timestamp not null, -- When (UTC).
    cases bigint not null, -- Cases scored.
    unresolved bigint not null, -- Predicted cases without resolved truth, left out.
    plan_sha256 text, -- SHA-256 of the analysis plan locked when the split was made; NULL = none was.
);

create table departures ( -- Where a run departs from the analysis plan that was locked when its split was made.
    run_id text not null references runs (run_id), -- The run.
    part text, -- The part; NULL = the plan as a whole.
    kind text not null, -- What departs; exploratory = evaluated though not planned.
    detail text not null, -- In which way.
);

create table scores ( -- Metrics with intervals.
    run_id text not null references runs (run_id), -- The run.
    part text not null, -- The part.
    metric text not null, -- Metric; macro_, weighted_, micro_ = averages over classes; scaled_ = at the temperature.
    class_name text, -- The class; NULL = over all classes.
    value double, -- NaN where undefined.
    low double, -- Lower bound of the interval.
    high double, -- Upper bound of the interval.
    confidence double not null, -- Confidence of the interval.
    method text not null, -- How the interval was made.
    replicates bigint not null, -- Bootstrap replicates; 0 where none.
    cases bigint not null, -- Support: cases the value rests on.
    patients bigint not null, -- Support: patients the value rests on.
    too_few boolean not null, -- Fewer patients than the interval is vouched for; of a macro average: in some class.
    classes bigint, -- Classes a macro or weighted average was taken over.
    truth_id text not null, -- The truth it was scored against.
    query text not null, -- SQL that gives the value again.
);

create table temperatures ( -- The temperature that makes a run's probabilities fit, found on validation only.
    run_id text primary key references runs (run_id), -- The run.
    temperature double not null, -- Above 1 where the probabilities were too sure.
    fitted_on text not null, -- The part: validation.
    cases bigint not null, -- Cases it was fitted on.
    truth_id text not null, -- The truth it was fitted on.
);

create table calibration_bins ( -- Reliability: what was said beside what came true.
    run_id text not null references runs (run_id), -- The run.
    part text not null, -- The part.
    probabilities text not null check (probabilities in ('as predicted', 'at temperature')), -- Which ones.
    class_name text, -- The class whose probability it is; NULL = that of the predicted class.
    low_edge double not null, -- Where the bin begins; this belongs to it.
    high_edge double not null, -- Where it ends; this does not, but for 1.
    cases bigint not null, -- Cases in the bin.
    patients bigint not null, -- Their patients.
    chance double not null, -- Mean probability.
    came double not null, -- Share in which it came true.
    low double not null, -- Lower bound of that share's interval.
    high double not null, -- Upper bound.
    confidence double not null, -- Confidence of the interval.
    method text not null, -- How the interval was made.
    truth_id text not null, -- The truth it was held against.
);

create table operating_points ( -- A threshold chosen on validation, and what it does on each part.
    run_id text not null references runs (run_id), -- The run.
    part text not null, -- The part; on validation the threshold was chosen.
    target text not null, -- What is to be found, as the study names it.
    classes text not null, -- Its classes, joined by commas; their probabilities are added.
    rule text not null, -- How the threshold was chosen: sensitivity or youden.
    required double not null, -- Required sensitivity.
    threshold double not null, -- A case is called from this probability on.
    metric text not null, -- recall, specificity, precision, npv, or benign_per_found: false alarms for each hit.
    value double, -- NaN where undefined.
    low double, -- Lower bound of the interval.
    high double, -- Upper bound; infinite where precision may be 0.
    confidence double not null, -- Confidence of the interval.
    method text not null, -- How the interval was made.
    cases bigint not null, -- Support: cases the value rests on.
    patients bigint not null, -- Support: their patients.
    too_few boolean not null, -- Fewer patients than the interval is vouched for.
    truth_id text not null, -- The truth it was scored against.
    query text not null, -- SQL that gives the value again.
);

create table guarantees ( -- Whether a part can vouch for the sensitivity required of an operating point.
    run_id text not null references runs (run_id), -- The run.
    part text not null, -- The part.
    target text not null, -- What is to be found.
    required double not null, -- Required sensitivity.
    confidence double not null, -- Confidence of the guarantee.
    positives bigint not null, -- Cases to be found.
    found bigint not null, -- Of these, found.
    patients bigint not null, -- Patients with such cases.
    patients_found bigint not null, -- Of these, patients with none missed.
    at_least double, -- Sensitivity exceeded with this confidence, by patients (exact binomial); NaN without any.
    vouched boolean not null, -- Whether that reaches what is required.
    needed_without_a_miss bigint not null, -- Patients it takes if none is missed.
    needed bigint, -- Patients it takes with as many missed as here; null above 100 000.
    truth_id text not null, -- The truth it was scored against.
);

create table decision_curves ( -- Net benefit of calling cases by their probability, beside calling all or none.
    run_id text not null references runs (run_id), -- The run.
    part text not null, -- The part.
    target text not null, -- What is to be found.
    threshold double not null, -- Probability from which a case is called; its odds are the cost of a false alarm.
    net_benefit double not null, -- Of the model; calling none has 0.
    low double, -- Lower bound of the interval.
    high double, -- Upper bound of the interval.
    everyone double not null, -- Of calling every case.
    confidence double not null, -- Confidence of the interval.
    method text not null, -- How the interval was made.
    replicates bigint not null, -- Bootstrap replicates.
    cases bigint not null, -- Cases.
    patients bigint not null, -- Patients.
    truth_id text not null, -- The truth it was scored against.
);

create table subgroup_scores ( -- Metrics of groups of cases, and how far each group is from all the others.
    group_name text not null, -- What cases are grouped by: a metadata field, or annotator.
    group_value text not null, -- The group; "(none)" = cases without a value.
    run_id text not null references runs (run_id), -- The run.
    part text not null, -- The part.
    metric text not null, -- Metric.
    class_name text, -- The class; NULL = over all classes.
    value double, -- NaN where undefined, or where the group is too small to be scored.
    low double, -- Lower bound of the interval.
    high double, -- Upper bound of the interval.
    confidence double not null, -- Confidence of the interval.
    method text not null, -- How the interval was made.
    replicates bigint not null, -- Bootstrap replicates; 0 where none.
    cases bigint not null, -- Cases of the group that the value rests on.
    patients bigint not null, -- Patients of the group that it rests on.
    difference double, -- Value less that of all other cases; NaN where one of them is undefined.
    difference_low double, -- Lower bound of the difference's interval.
    difference_high double, -- Upper bound of the difference's interval.
    p double, -- Two-sided p of the difference, from the paired patient bootstrap.
    q double, -- p corrected for all groups screened at once (Benjamini and Hochberg).
    worst boolean not null, -- The group furthest below the others in this metric, of those scored.
    refused text, -- Why it was not scored; NULL = it was.
    truth_id text not null, -- The truth it was scored against.
);

create table comparisons ( -- Two runs on the same cases, and one run before and after relabelling, by `toolkit compare`.
    run_id text not null references runs (run_id), -- The run that is compared.
    other_run_id text not null references runs (run_id), -- The run it is compared with; the same one for relabelling.
    part text not null, -- The part; only cases that both runs predicted in it.
    cause text not null check (cause in ('model', 'relabelling')), -- What the difference is due to.
    metric text not null, -- Metric.
    class_name text, -- The class; NULL = over all classes.
    value double, -- Of the run, or of older labels; NaN where undefined.
    other_value double, -- Of the other run, or of today's labels.
    difference double, -- Other value less value.
    low double, -- Lower bound of the difference's interval.
    high double, -- Upper bound of the difference's interval.
    confidence double not null, -- Confidence of the interval.
    method text not null, -- How interval and p were made.
    replicates bigint not null, -- Replicates of bootstrap and permutation; 0 where none.
    p double, -- Two-sided p of the difference.
    p_corrected double, -- p corrected for all classes of the metric (Holm).
    cases bigint not null, -- Cases that both have.
    patients bigint not null, -- Their patients.
    truth_id text not null, -- The truth they were held against; for relabelling today's.
);

create table agreement ( -- How far readers agree beyond chance on the scored cases; the model is one more reader.
    run_id text not null references runs (run_id), -- The run.
    part text not null, -- The part.
    measure text not null check ( -- Kappa of two readers, alpha of all annotators; weighted and ordinal by ordered classes.
        measure in ('cohen', 'cohen_weighted', 'fleiss', 'krippendorff', 'krippendorff_ordinal')
    ),
    reader text not null, -- An annotator's pseudonym, "model", or "annotators".
    other_reader text, -- An annotator's pseudonym, "model" or "truth"; NULL for what all annotators reach together.
    class_name text, -- The class against all others; NULL = all classes.
    value double, -- NaN where undefined: nothing varies.
    low double, -- Lower bound of the interval.
    high double, -- Upper bound of the interval.
    confidence double not null, -- Confidence of the interval.
    method text not null, -- How the interval was made.
    replicates bigint not null, -- Bootstrap replicates.
    cases bigint not null, -- Cases that both read, or that at least two annotators read.
    patients bigint not null, -- Their patients.
    truth_id text not null, -- The truth it was held against.
);
