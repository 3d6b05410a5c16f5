-- What should a person check, most serious first?
-- counted by kind
-- $kind = : one kind of finding; empty = all
-- $kind among identical_bytes, identical_pixels, near_duplicate, duplicate_within_patient, second_patient_id, similar_patient_ids, same_lesion_within_patient, contradiction, suspect_label, disagreement, unmatched_box, ambiguous_box, ambiguous_answer, findings.kind
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
