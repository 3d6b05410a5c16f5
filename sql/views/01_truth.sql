-- The class each case is scored against: the majority of its latest readings; a tie resolves nothing.
create or replace view truth as
with votes as (
    select case_id, class_name, count(*) as votes,
    from readings
    group by case_id, class_name
),
tallies as (
    select
        case_id,
        sum(votes) as readings,
        max(votes) as most,
        count(*) as classes,
        arg_max(class_name, votes) as winner,
        list(votes) as shares,
    from votes
    group by case_id
),
resolved as (
    select
        cases.case_id,
        cases.unread,
        tallies.*  exclude (case_id),
        len(list_filter(shares, lambda n: n = most)) > 1 as tied,
    from cases
    left join tallies on tallies.case_id = cases.case_id
)
select
    resolved.case_id,
    label_states.truth_id,
    case when not tied then winner end as class_name,
    case
        when unread is not null then unread
        when tied then 'tie'
        when readings = 1 then 'single_reading'
        when classes = 1 then 'unanimous'
        else 'majority'
    end as resolved_by,
    coalesce(readings, 0) as readings,
    coalesce(most, 0) as votes,
from resolved
cross join label_states;
