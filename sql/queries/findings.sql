-- What should a person look at, most serious first?
-- $kind = : one kind of finding; empty = all
-- $limit = 50: rows at the most
select
    kind,
    case_id,
    other_case_id,
    score,
    detail,
from findings
where $kind in ('', kind)
order by score desc nulls last, kind, case_id, other_case_id
limit cast($limit as bigint);
