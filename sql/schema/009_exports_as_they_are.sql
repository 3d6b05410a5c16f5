-- A case may have no reading because its answer stands where none is read; what became of labels in Labelbox.

alter table cases rename to cases_before;

create table cases ( -- One lesion on one photograph.
    case_id text primary key, -- 16 hexadecimal digits over the photograph and the lesion's first-seen object.
    image_id text not null, -- The photograph.
    patient_id text not null, -- Pseudonym.
    lesion_id text, -- Pseudonym, unique within a patient only.
    roi_left double, -- Pixels as displayed, of the box or of the outline's extent; NULL = whole photograph.
    roi_top double, -- Pixels as displayed; NULL = whole photograph.
    roi_width double check (roi_width > 0), -- Pixels as displayed; NULL = whole photograph.
    roi_height double check (roi_height > 0), -- Pixels as displayed; NULL = whole photograph.
    unread text check ( -- Why it has no reading; answer_elsewhere: it has an answer, where none is read; NULL where it has one.
        unread in ('unlabelled', 'skipped', 'no_answer', 'answer_elsewhere')
    ),
);

insert into cases select * from cases_before;
drop table cases_before;

create table reviews ( -- Reviews of labels, as the newest export with the label has them.
    label_id text not null, -- The label.
    image_id text not null, -- The photograph.
    position bigint not null, -- Order in the export, from 0.
    review_id text, -- Labelbox review ID; exports of version 2 have none.
    score double, -- 1 approves, -1 rejects; NULL where the export does not say.
    reviewed_at timestamp, -- Labelbox time (UTC).
    reviewer text, -- Pseudonym, the same as an annotator's.
    primary key (label_id, position),
);

create table label_versions ( -- Versions of labels that Labelbox recorded, where a project records them; `pull` reads them.
    version_id text primary key, -- Labelbox version ID.
    label_id text not null, -- The label.
    position bigint not null, -- Order among the label's versions, from 1.
    image_id text not null, -- The photograph.
    project_id text not null, -- Labelbox project ID.
    action text not null, -- What the hand-off was: SUBMITTED, SAVED, APPROVED, REJECTED, REWORK_SUBMITTED, SENT_TO_REWORK.
    created_at timestamp, -- Labelbox time (UTC).
    annotator text, -- Pseudonym of the user's ID; exports have e-mail addresses, so it is not the pseudonym of `labels`.
    stage text, -- Step of the workflow; NULL = done.
    annotations bigint not null, -- Objects and questions at the top of the label.
    class_names text, -- Classes that it said, in order of their names; NULL where it could not be read.
    content_sha256 text, -- SHA-256 of its annotations; NULL where they could not be read.
);

create table workflow ( -- Steps of photographs in the workflow of a project, as the newest export has them.
    image_id text not null, -- The photograph.
    project_id text not null, -- Labelbox project ID.
    label_id text, -- The label, where a step is about one: has_open_issues of legacy exports.
    position bigint not null, -- Order in the export, from 0: the newest step comes first.
    action text not null, -- Move, Approve, Reject, … as Labelbox names it; has_open_issues: a label with open issues.
    acted_at timestamp, -- Labelbox time (UTC).
    annotator text, -- Pseudonym of who did it.
    from_task text, -- Task it came from.
    to_task text, -- Task it went to.
);
