-- The study's classes, so that SQL knows what is malignant.

create table classes ( -- The study's classes, as the study file had them at the last parse.
    class_name text primary key, -- Name in tables and reports.
    position bigint not null, -- Order in the study file, from 1.
    malignant boolean not null, -- Whether it is malignant.
    answer text not null, -- What the model is trained to say for it.
    aliases text[] not null, -- Other spellings of it in exports.
);
