-- Photographs of one patient that look like one lesion, photographed again.

create table same_lesion_pairs ( -- Other exposures of one lesion, found by comparing a patient's photographs with each other.
    image_id text not null, -- The photograph whose ID comes first.
    other_image_id text not null, -- The other.
    features bigint not null, -- Local features of both that agree on one placement.
    matches bigint not null, -- Local features of both that match.
    primary key (image_id, other_image_id)
);

create table same_lesion_searches ( -- What the last search for other exposures looked at; one row, or none.
    settings text not null, -- Thresholds and method, as JSON.
    images_sha256 text not null, -- Digest over the patients' photographs that were to be compared.
    photographs bigint not null, -- How many were compared with others of their patient.
    left_out bigint not null, -- How many were not, of patients with very many.
    pairs bigint not null -- How many pairs were found.
);
