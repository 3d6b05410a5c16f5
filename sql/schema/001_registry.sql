-- What an export said, and the cases made of it. `parse` makes these tables anew from the landed exports each time.
-- They have no foreign keys: DuckDB refuses to replace both ends of one in a single transaction.

create table exports ( -- One landed export file.
    export_id text primary key, -- First 12 hexadecimal digits of the SHA-256 of its bytes.
    source text not null, -- Name of the file it came from.
    sha256 text not null unique, -- SHA-256 of its bytes, as received.
    rows bigint not null check (rows >= 0), -- Lines that hold something.
    latest_at timestamp, -- Latest time written in it (UTC); tells which of two exports is newer.
    moment bigint not null check (moment > 0), -- Its place in time, from 1; exports of the same latest time share it.
);

create table conservation ( -- What was read from an export and where it went.
    export_id text not null, -- The export.
    noun text not null check ( -- What is counted; labels of model runs are labels, their predictions a noun of their own.
        noun in ('row', 'project', 'label', 'answer', 'object', 'relationship', 'prediction')
    ),
    read bigint not null, -- Counted in the raw JSON, identical repeated rows left out.
    stored bigint not null, -- Counted in the tables of the registry.
    quarantined bigint not null, -- On rows that were not stored.
    repeated bigint not null, -- On identical repetitions of a row: read once, stored once.
    primary key (export_id, noun),
    check (read = stored + quarantined),
);

create table ingest_issues ( -- Everything that was not taken as it stood.
    export_id text not null, -- The export.
    line bigint, -- Line of the unpacked file at which the row begins, from 1; NULL where it concerns several.
    byte_offset bigint, -- Byte of the unpacked file at which the row begins, from 0; NULL where it concerns several.
    level text not null check (level in ('file', 'row', 'label', 'object', 'case', 'warning')), -- What is kept out.
    reason text not null, -- Reason code, the same words for the same fault.
    detail text not null, -- What was found, without identifiers of patients.
    image_id text, -- The photograph, where it is known.
);

create table patients ( -- One row per patient.
    patient_id text primary key, -- Pseudonym: keyed HMAC of the normalised identifier, or of the photograph's ID.
    images bigint not null check (images > 0), -- Photographs of this patient.
    spellings bigint not null check (spellings > 0), -- Ways the identifier was written, merged by normalisation.
);

create table images ( -- One row per photograph, as the newest export has it.
    image_id text primary key, -- Labelbox data row ID.
    global_key text, -- Labelbox global key; may hold a patient identifier, stays in the registry.
    external_id text, -- Labelbox external ID; may hold a patient identifier, stays in the registry.
    patient_id text, -- Pseudonym; NULL where the export names none, or several.
    lesion_id text, -- Pseudonym of the lesion, unique within a patient only.
    path text, -- File under the photographs' folder; NULL where it was not looked for or not found.
    sha256 text, -- SHA-256 of the file's bytes.
    pixel_sha256 text, -- SHA-256 of the upright RGB pixels and their size.
    width bigint, -- Pixels as displayed, decoded; the export's where the photograph was not opened.
    height bigint, -- Pixels as displayed, decoded; the export's where the photograph was not opened.
    export_id text not null, -- The newest export that holds it.
);

create table projects ( -- One row per photograph and Labelbox project.
    image_id text not null, -- The photograph.
    project_id text not null, -- Labelbox project ID.
    project text not null, -- Labelbox project name.
    in_study boolean not null, -- Whether the study file names this project.
    workflow_status text, -- Labelbox workflow state.
    batch text, -- Labelbox batch name.
    tags text, -- Labelbox project tags, as JSON.
    primary key (image_id, project_id),
);

create table labels ( -- One submission for one photograph, one row per revision; readings come from annotators' only.
    label_id text not null, -- Labelbox label ID; of what a model run holds, run/photograph/kind/position/ID.
    revision bigint not null check (revision > 0), -- 1 = the oldest content seen.
    latest boolean not null, -- Whether this is the revision that the newest export with this label holds.
    first_export text not null, -- The oldest export that holds this revision.
    last_export text not null, -- The newest export that holds this revision.
    deleted_by text, -- The export whose row of its photograph and project no longer held the label; NULL = it is there.
    image_id text not null, -- The photograph.
    kind text not null check (kind in ('label', 'run_label', 'prediction')), -- A person's; a model run's copy; a model's.
    project_id text not null, -- Labelbox project ID; of what a model run holds, the run's ID.
    project text not null, -- Labelbox project name; of what a model run holds, the run's ID.
    in_study boolean not null, -- Whether the study file names this project; false for what a model run holds.
    annotator text, -- Pseudonym of who made it.
    created_at timestamp, -- Labelbox time (UTC).
    updated_at timestamp, -- Labelbox time (UTC).
    skipped boolean, -- Whether the annotator skipped; NULL where the export does not say.
    workflow_status text, -- Workflow state of its photograph in the newest export.
    seconds_to_create double, -- As Labelbox counted.
    seconds_to_review double, -- As Labelbox counted.
    consensus_score double, -- Labelbox consensus agreement.
    benchmark_score double, -- Labelbox benchmark agreement.
    benchmark_reference text, -- Label this one is compared with.
    content_sha256 text not null, -- SHA-256 of the label's canonical JSON.
    primary key (label_id, revision),
);

create table objects ( -- Every object with its geometry, of every revision.
    label_id text not null, -- The label.
    revision bigint not null, -- The label's revision.
    position bigint not null, -- Order in the label, from 0.
    object_id text not null, -- Labelbox feature ID.
    name text not null, -- Object class as shown.
    value text, -- Object class as slug.
    annotation_kind text, -- Labelbox annotation kind.
    geometry text, -- The geometry's JSON, with its kind as key.
    box_left double, -- Bounding boxes only, pixels, as drawn.
    box_top double, -- Bounding boxes only, pixels, as drawn.
    box_width double, -- Bounding boxes only, pixels, as drawn.
    box_height double, -- Bounding boxes only, pixels, as drawn.
    primary key (label_id, revision, position),
);

create table answers ( -- Every answer: top-level, on an object, nested in another answer; of every revision.
    label_id text not null, -- The label.
    revision bigint not null, -- The label's revision.
    position bigint not null, -- Order in the label, from 0.
    parent bigint, -- Position of the answer it is nested in.
    object_position bigint, -- Position of the object it is about; NULL = the photograph.
    question text not null, -- Question as shown.
    question_value text, -- Question as slug.
    kind text not null check (kind in ('radio', 'checklist', 'text')), -- Kind of question.
    answer text not null, -- Chosen option as shown, or the text given.
    answer_value text, -- Chosen option as slug.
    certainty text, -- How certain the annotator was of this class, where the study names a question for it.
    primary key (label_id, revision, position),
);

create table relationships ( -- Links between objects, also those that stand among the objects.
    label_id text not null, -- The label.
    revision bigint not null, -- The label's revision.
    position bigint not null, -- Order in the label, from 0.
    name text not null, -- Relationship as shown.
    source_id text, -- Object it starts from.
    target_id text, -- Object it points to.
    primary key (label_id, revision, position),
);

create table metadata ( -- Metadata of photographs that the study keeps, without the identifiers of patient and lesion.
    image_id text not null, -- The photograph.
    name text not null, -- Field as named in Labelbox.
    kind text, -- Labelbox metadata kind.
    value text not null, -- As text; e-mail addresses, URL queries and the patient's identifier are taken out.
);

create table model_runs ( -- Labelbox model runs that hold a photograph, as the newest export has it.
    image_id text not null, -- The photograph.
    model_id text not null, -- Labelbox experiment ID.
    model text, -- Name of the experiment.
    run_id text not null, -- Labelbox model run ID; its labels and predictions have it as project.
    run text, -- Name of the model run.
    split text, -- Part of the run's data that the photograph belongs to.
);

create table attachments ( -- What is shown beside a photograph, as the newest export has it.
    image_id text not null, -- The photograph.
    position bigint not null, -- Order in the row, from 0.
    kind text, -- Labelbox attachment type.
    name text, -- As named in Labelbox.
    value text, -- Text or address; e-mail addresses, URL queries and the patient's identifier are taken out.
    primary key (image_id, position),
);

create table embeddings ( -- Embeddings of a photograph, without their vectors, as the newest export has it.
    image_id text not null, -- The photograph.
    position bigint not null, -- Order in the row, from 0.
    embedding_id text, -- Labelbox embedding ID.
    name text, -- As named in Labelbox.
    dimensions bigint, -- Numbers in a vector.
    vectors bigint not null, -- Vectors the export holds; they stay in the landed file.
    primary key (image_id, position),
);

create table unknown_keys ( -- JSON keys that the toolkit does not know: their values stay in the landed file.
    export_id text not null, -- The export.
    key_path text not null, -- Where the key stands, without positions; IDs are `*`.
    rows bigint not null, -- Stored rows that hold it.
    primary key (export_id, key_path),
);

create table cases ( -- One lesion on one photograph.
    case_id text primary key, -- 16 hexadecimal digits over the photograph and the lesion's first-seen object.
    image_id text not null, -- The photograph.
    patient_id text not null, -- Pseudonym.
    lesion_id text, -- Pseudonym, unique within a patient only.
    roi_left double, -- Pixels as displayed; NULL = whole photograph.
    roi_top double, -- Pixels as displayed; NULL = whole photograph.
    roi_width double check (roi_width > 0), -- Pixels as displayed; NULL = whole photograph.
    roi_height double check (roi_height > 0), -- Pixels as displayed; NULL = whole photograph.
    unread text check (unread in ('unlabelled', 'skipped', 'no_answer')), -- Why it has no reading; NULL where it has one.
);

create table readings ( -- What one annotator says about one case: latest revisions of labels that are still there.
    case_id text not null, -- The case.
    label_id text not null, -- The label.
    revision bigint not null, -- The label's revision.
    object_id text, -- The box; NULL where the photograph as a whole was answered.
    annotator text, -- Pseudonym.
    class_name text not null, -- The class said.
    counts boolean not null, -- Whether the study's policy lets it take part in the truth.
    primary key (case_id, label_id),
);

create table label_states ( -- The state of the labels that truth is taken from; one row.
    truth_id text primary key, -- Policy and label revision.
    policy text not null, -- How readings become truth.
    label_revision text not null, -- 8 hexadecimal digits over every reading.
    patient_from text not null, -- Where patient identifiers stand, as the study says; 'none' = there are none.
    key_fingerprint text not null, -- Tells which pseudonym key was used.
    study text not null, -- Name of the study.
    content_hash text not null, -- SHA-256 over what the registry holds, whatever exports it came from and when.
);

create table findings ( -- What a person should look at.
    kind text not null, -- Kind of finding.
    source text not null check (source in ('parse', 'audit')), -- The stage that found it.
    case_id text, -- The case.
    other_case_id text, -- The other case, where it takes two.
    score double, -- How strong, by kind; 1 = certain.
    detail text not null, -- In words, without identifiers of patients.
);

create table label_history ( -- What each export said of each label, from the first that held it on.
    export_id text not null, -- An export whose row of the label's photograph and project was read.
    label_id text not null, -- The label.
    revision bigint, -- The revision it held; NULL = the label was no longer there.
    workflow_status text, -- Workflow state of its photograph in this export.
    primary key (export_id, label_id),
);

create table image_history ( -- Which photographs each export held, and whose they were.
    export_id text not null, -- The export.
    image_id text not null, -- The photograph.
    patient_id text, -- Pseudonym as of this export.
    primary key (export_id, image_id),
);

create table case_history ( -- Which cases there were, from one moment to the next.
    case_id text not null, -- The case.
    image_id text not null, -- The photograph.
    unread text, -- Why it had no reading; NULL where it had one.
    since bigint not null, -- First moment (of `exports`) of this state.
    until bigint, -- Moment from which it no longer held; NULL = it still does.
    primary key (case_id, since),
);

create table reading_history ( -- What annotators said about cases, of all revisions, from one moment to the next.
    case_id text not null, -- The case.
    label_id text not null, -- The label.
    revision bigint not null, -- The label's revision.
    object_id text, -- The box; NULL where the photograph as a whole was answered.
    annotator text, -- Pseudonym.
    class_name text not null, -- The class said.
    counts boolean not null, -- Whether the study's policy lets it take part in the truth.
    benchmark boolean not null, -- Whether it was the photograph's benchmark reference label.
    since bigint not null, -- First moment (of `exports`) of this state.
    until bigint, -- Moment from which it no longer held; NULL = it still does.
    primary key (case_id, label_id, since),
);

create table duplicates ( -- Photographs that show the same, found by looking at the pixels.
    image_id text not null, -- The one that comes first.
    other_image_id text not null, -- The other.
    relation text not null check (relation in ('identical_bytes', 'identical_pixels', 'near_duplicate')), -- What they share.
    score double not null, -- Normalised correlation after alignment; 1 = the same.
    change text not null, -- How the other is turned or cut against the first, in words.
    primary key (image_id, other_image_id)
);

create table duplicate_searches ( -- What the last search for duplicates looked at; one row, or none.
    settings text not null, -- Thresholds and method, as JSON.
    images_sha256 text not null, -- Digest over the sorted pixel digests of the photographs compared.
    photographs bigint not null, -- How many were compared.
    pairs bigint not null -- How many pairs were found.
);
