-- Every reading that holds now, with what the policy looks at, and every case without one, a line each: what names the
-- truth.
select
    concat_ws(
        chr(0),
        case_id,
        label_id,
        revision,
        class_name,
        if(counts, null, 'uncounted'),
        if(benchmark and $policy = 'benchmark', 'benchmark', null),
        if(is_verdict, 'verdict', null)
    ) as line,
from (
    select case_id, label_id, revision, class_name, counts, benchmark, is_verdict,
    from derived_reading_history
    where until is null
    union all
    select case_id, '', 0, unread, true, false, false,
    from derived_cases
    where unread is not null
)
order by case_id, label_id, revision, class_name;
