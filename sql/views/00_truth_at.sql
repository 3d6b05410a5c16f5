-- The reference diagnosis of each case at a moment of `exports`, by the study's policy, or as reviewers decided: `from truth_at(1)`.
create or replace macro truth_at(moment_asked) as table
with stood as (
    select case_id, unread,
    from case_history
    where since <= moment_asked and (until is null or until > moment_asked)
),
said as (
    select
        history.case_id,
        history.class_name,
        history.counts,
        history.benchmark,
        coalesce(history.is_verdict, false) as is_verdict,
        coalesce(labels.updated_at, labels.created_at) as said_at,
        label_states.policy,
    from readings_at(moment_asked) as history
    left join labels on labels.label_id = history.label_id and labels.revision = history.revision
    cross join label_states
),
chosen as (
    select *,
    from said
    where counts
    qualify case
        when bool_or(is_verdict) over (partition by case_id) then is_verdict
        when policy = 'latest' then said_at is not distinct from max(said_at) over (partition by case_id)
        when policy = 'benchmark' then benchmark = bool_or(benchmark) over (partition by case_id)
        else true
    end
),
votes as (
    select case_id, class_name, count(*) as votes, bool_or(benchmark) as benchmark, bool_or(is_verdict) as is_reviewed,
    from chosen
    group by case_id, class_name
),
tallies as (
    select
        case_id,
        max(votes) as most,
        arg_max(class_name, votes) as winner,
        list(votes) as shares,
        bool_or(benchmark) as benchmark,
        bool_or(is_reviewed) as is_reviewed,
    from votes
    group by case_id
),
decided as (
    select *, len(list_filter(shares, lambda n: n = most)) > 1 as tied,
    from tallies
),
counted as (
    select
        case_id,
        count(*) as readings,
        count(*) filter (where counts) as counting,
        count(distinct class_name) filter (where counts) as classes,
    from said
    group by case_id
)
select
    stood.case_id,
    label_states.truth_id,
    case when not tied then winner end as class_name,
    case
        when is_reviewed then if(tied, 'tie', 'review')
        when unread is not null then unread
        when counting = 0 then 'not_counted'
        when tied then 'tie'
        when policy = 'annotator' then 'annotator'
        when policy = 'benchmark' and benchmark then 'benchmark'
        when counting = 1 then 'single_reading'
        when classes = 1 then 'unanimous'
        when policy = 'latest' then 'latest'
        else 'majority'
    end as resolved_by,
    coalesce(readings, 0) as readings,
    coalesce(most, 0) as votes,
from stood
cross join label_states
left join counted on counted.case_id = stood.case_id
left join decided on decided.case_id = stood.case_id;
