-- The reader study: readers without and with the model, by `toolkit readers`.

create table reader_study ( -- What readers reach without the model, with it, and the difference.
    metric text not null, -- accuracy, recall, specificity, or roc_auc where readers rate.
    inference text not null check ( -- For whom it holds: what is taken as a sample of others, and what as all there is.
        inference in ('readers and cases', 'cases', 'readers', 'one reader')
    ),
    reader text, -- The annotator, where it is about one; NULL = the mean over readers.
    reading text not null check (reading in ('unaided', 'aided', 'difference')), -- Difference: aided minus unaided.
    value double, -- NaN where undefined.
    error double, -- Standard error; NaN where nothing varies.
    low double, -- Lower bound of the interval.
    high double, -- Upper bound of the interval.
    confidence double not null, -- Confidence of the interval.
    df double, -- Degrees of freedom of the interval; infinite = normal.
    f double, -- F of the difference, with 1 and df degrees of freedom; NaN for a single reading.
    p double, -- Two-sided p of the difference; NaN for a single reading.
    method text not null, -- How the interval was made.
    readers bigint not null, -- Readers.
    cases bigint not null, -- Support: cases the value rests on.
    patients bigint not null, -- Support: patients the value rests on.
    too_few boolean not null, -- Fewer patients than the interval needs to cover what it states.
    truth_id text not null, -- The truth of which each reader's own readings were left out.
);

create table reader_components ( -- How readers, modalities and cases make a metric of the reader study vary.
    metric text not null primary key, -- The metric.
    var_reader double not null, -- Variance between readers.
    var_modality_reader double not null, -- Variance of a reader's gain by the model; an estimate below 0 is possible.
    var_error double not null, -- Variance of a reader's value due to the cases.
    cov1 double not null, -- Covariance of that with the same reader's other reading.
    cov2 double not null, -- With another reader's same reading.
    cov3 double not null, -- With another reader's other reading.
    ms_modality double not null, -- Mean square of unaided against aided.
    ms_reader double not null, -- Mean square of readers.
    ms_modality_reader double not null, -- Mean square of readers' gains.
    readers bigint not null, -- Readers.
    cases bigint not null, -- Cases.
    patients bigint not null, -- Their patients.
);

create table reader_left_out ( -- What the reader study could not use.
    reason text not null, -- Why.
    reader text, -- The annotator, where it is about one.
    cases bigint not null, -- Cases.
);
