-- Every reading that held at a moment of `exports`, with what the policy looks at, and every case without one, a line
-- each: what names the truth.
with known as (
    select *,
    from reading_history
    union all by name
    select null::boolean as is_verdict, -- a registry of an earlier version lacks it
    where false
),

held as (
    select case_id, label_id, revision, class_name, counts, benchmark, is_verdict,
    from known
    where since <= $moment::bigint and (until is null or until > $moment::bigint)
    union all
    select case_id, '', 0, unread, true, false, false,
    from case_history
    where unread is not null and since <= $moment::bigint and (until is null or until > $moment::bigint)
)

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
from held
order by case_id, label_id, revision, class_name;
