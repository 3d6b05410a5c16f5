-- What `toolkit release --apply` has made for others.

create table releases ( -- One row for each de-identified data set; `rebuild` reads them from releases/.
    release_id text primary key, -- 8 hexadecimal digits of the SHA-256 of what it holds.
    made_at timestamp not null, -- When it was first made (UTC).
    version text not null, -- Version of the data set, as the study says.
    licence text not null, -- Its licence.
    split_id text not null, -- The split of this workspace whose subsets it has; its own ID is another.
    truth_id text not null, -- The reference diagnoses it holds.
    cases bigint not null, -- Cases in it.
    photographs bigint not null, -- Photographs in it.
    patients bigint not null, -- Patients in it when it was made.
    withdrawn bigint not null, -- Of them, patients who were withdrawn from this workspace since.
    smallest_group bigint, -- Least number of patients who are alike in all quasi-identifiers (k); NULL = none were named.
    checked_by text not null, -- Pseudonym of who looked through the photographs.
    key_fingerprint text, -- Tells which release key was used; NULL = a random one that was thrown away.
    manifest_sha256 text not null, -- SHA-256 of its manifest.json, which has the digest of every other file.
);
