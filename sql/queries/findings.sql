-- What should a person check, most serious first?
-- $kind = : one kind of finding; empty = all
-- $limit = 50: most rows to show
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
