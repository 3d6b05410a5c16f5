-- Where does a run depart from the analysis plan that was locked when its split was made?
-- $run = latest: run ID, or latest
-- $run among run_names.name
with last_scoring as (
    select run_id, arg_max_null(plan_sha256, scored_at) as plan_sha256,
    from evaluations
    group by run_id
)
select
    departures.part,
    coalesce(
        departures.kind,
        if(last_scoring.plan_sha256 is null, 'no analysis plan was locked', 'no departure')
    ) as kind,
    departures.detail,
    last_scoring.plan_sha256,
from last_scoring
inner join run_names on run_names.run_id = last_scoring.run_id
left join departures on departures.run_id = last_scoring.run_id
where run_names.name = $run
order by departures.part nulls first, departures.kind, departures.detail;
