-- Scores are kept for each revision of the labels.

create table scores_as_of ( -- Scores against the reference diagnoses as they stood when an export was the newest one; evaluate keeps today's here, too.
    run_id text not null references runs (run_id), -- The run.
    part text not null, -- The subset of the split.
    export_id text not null, -- The export, or review, as of which the reference diagnoses are taken.
    latest_at timestamp, -- Latest time written in that export (UTC).
    predictions_sha256 text not null, -- The predictions that were scored, as in the view prediction_digests.
    metric text not null, -- Metric; macro_, weighted_, micro_ = averages over classes.
    class_name text, -- The class; NULL = over all classes.
    value double, -- NaN where undefined.
    low double, -- Lower bound of the interval.
    high double, -- Upper bound of the interval.
    confidence double not null, -- Confidence of the interval.
    method text not null, -- How the interval was made.
    replicates bigint not null, -- Bootstrap replicates; 0 where none.
    cases bigint not null, -- Support: cases the value rests on.
    patients bigint not null, -- Support: patients the value rests on.
    too_few boolean not null, -- Fewer patients than the interval needs to cover what it states, in all or in a class that it rests on.
    classes bigint, -- Classes a macro or weighted average was taken over.
    truth_id text not null, -- The reference diagnoses as of then: policy and label revision.
    query text not null, -- SQL that gives the value again.
);

alter table evaluations add column as_of text; -- The export, or review, as of which the reference diagnoses were taken; NULL = those of the day.
