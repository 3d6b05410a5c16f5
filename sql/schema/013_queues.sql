-- Which labels to look at again, and what reviewers said of them.

create table queues ( -- Cases in the order in which their labels should be looked at again; each `queue` makes one.
    queue_id text primary key, -- 8 hexadecimal digits of the SHA-256 of what determined it.
    made_at timestamp not null, -- When (UTC).
    truth_id text not null, -- The reference diagnoses that it questions: policy and label revision.
    minutes double not null, -- How long the review may take.
    seconds_per_case double not null, -- How long a case takes, as the study says.
    random_share double not null, -- Share of the time that goes to patients drawn at random, as the study says.
    seed bigint not null, -- From which they were drawn.
    sources text not null, -- What its scores rest on: the audit's evidence, runs.
    patients bigint not null, -- Patients it was chosen from.
    cases bigint not null, -- Labelled cases it was chosen from.
);

create table queue_items ( -- The cases of a queue: all cases of one patient together.
    queue_id text not null, -- The queue.
    rank bigint not null, -- Order of the case, from 1.
    patient_id text not null, -- Pseudonym.
    case_id text not null, -- The case.
    random boolean not null, -- Whether its patient was drawn at random.
    drawn_from text check (drawn_from in ('all', 'test')), -- The patients it was drawn from: all, or the test set's; NULL = not drawn.
    class_name text not null, -- The reference diagnosis that is questioned.
    score double, -- Probability that it is wrong, by the evidence; NaN where there is none.
    suggested_class text, -- The class that the evidence suggests instead; NULL where there is none.
    probability double, -- Probability of the suggested class; NaN where there is none.
    harm double, -- What the error would cost, times its probability, in the study's costs of errors; NaN where unknown.
    reasons text not null, -- Why, in a sentence.
    primary key (queue_id, case_id),
    unique (queue_id, rank),
);

create table verdicts ( -- What reviewers said of reference diagnoses; each verdict is a label revision too.
    review_id text not null, -- The file of verdicts: 12 hexadecimal digits of its SHA-256.
    case_id text not null, -- The case.
    image_id text not null, -- Its photograph.
    queue_id text, -- The queue that asked; NULL = none.
    reviewer text not null, -- Pseudonym, the same as an annotator's.
    verdict text not null check (verdict in ('confirmed', 'changed', 'cannot_tell')), -- What became of the label.
    class_before text, -- The reference diagnosis when it was reviewed; NULL = none.
    class_name text, -- The class the reviewer gives; NULL = cannot tell.
    reviewed_at timestamp not null, -- When (UTC).
    comment text, -- In the reviewer's words; e-mail addresses, URL queries and known identifiers are taken out.
    primary key (review_id, case_id, reviewer),
);

alter table reading_history add column is_verdict boolean default false;
comment on column reading_history.is_verdict is 'Whether it is a verdict of a review; such a reading decides alone.';
