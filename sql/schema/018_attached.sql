-- A study's own data about its patients, as `toolkit attach` took them in.

create table attached ( -- What files of the study's own say of its patients; each value stands among the metadata of their photographs, too.
    file text not null, -- Name of the file, without its ending.
    patient_id text not null, -- Pseudonym.
    name text not null, -- Column of the file.
    kind text not null check (kind in ('number', 'date', 'time', 'boolean', 'text')), -- What all values of the column are.
    value text not null, -- As text: dates as 2026-11-29, true or false; identifiers of patients and e-mail addresses are taken out.
    number double, -- The value of a number; NULL for other kinds.
    day timestamp, -- The value of a date or a time; NULL for other kinds.
    primary key (patient_id, name, value),
);

comment on column metadata.name is 'Field as named in Labelbox, or column of an attached file.';
comment on column metadata.kind is 'Labelbox metadata kind; attached number, date, time, boolean or text where a file was attached.';
