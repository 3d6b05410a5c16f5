-- What the last search for suspect labels found, in one row.
select
    count(*) as cases,
    count(own_probability) as compared,
    count(*) filter (where listed) as listed,
    coalesce(sum(score), 0)::double as expected_wrong,
    coalesce(sum(score) filter (where listed), 0)::double as expected_listed,
from label_evidence;
