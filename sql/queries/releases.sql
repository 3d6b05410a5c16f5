-- Which data sets were released, when, and has anybody in them been withdrawn since?
select
    release_id,
    made_at,
    version,
    licence,
    cases,
    photographs,
    patients,
    withdrawn,
    smallest_group,
    split_id,
    truth_id,
    checked_by,
    key_fingerprint,
    manifest_sha256,
from releases
order by made_at desc, release_id;
