-- What `audit` measures of each photograph, and how likely it takes each case's label to be wrong.

create table photograph_quality ( -- Technical quality of the photographs, measured on their upright pixels.
    image_id text primary key, -- The photograph.
    pixel_sha256 text not null, -- The pixels that were measured.
    sharpness double not null, -- Variance of the Laplacian against that of the grey levels; 0 = flat.
    brightness double not null, -- Median grey level, 0 to 1.
    dark_share double not null, -- Share of black pixels.
    bright_share double not null, -- Share of white pixels.
    effective_pixels double not null, -- Pixels of the longer side that would hold 95 % of the energy of its edges.
);

create table label_evidence ( -- What speaks for and against the label of each case with a reference diagnosis.
    case_id text primary key, -- The case.
    class_name text not null, -- Its reference diagnosis.
    suggested_class text, -- The most probable other class; NULL where nothing says anything.
    suggested_probability double, -- Its probability, given all evidence.
    score double, -- Probability that the label is wrong, given all evidence.
    place bigint, -- Its place among all cases, from 1 = look here first.
    listed boolean not null, -- Whether it is a finding.
    own_probability double, -- Its class's probability by models that saw no case of its group; NULL where there are none.
    probabilities map(text, double), -- Every class's, by the same models.
    reasons text not null, -- Why, in a sentence, without identifiers of patients.
);

create table label_searches ( -- What the last search for suspect labels rested on; one row, or none.
    inputs_sha256 text not null, -- Digest over settings, photographs, labels, groups and the seed.
    settings text not null, -- Features, folds, estimators and weights, as JSON.
    cases bigint not null, -- Cases with a reference diagnosis.
    compared bigint not null, -- Those with probabilities of models that saw no case of their group.
    expected_wrong double not null, -- Sum of all scores: how many labels are wrong, if the scores are right.
    temperature double not null, -- What the logarithms of the models' probabilities were divided by.
);
