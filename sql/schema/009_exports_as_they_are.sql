-- A case may have no reading because its answer stands where none is read.

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
