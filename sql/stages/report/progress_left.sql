-- What is still to do: cases without a reading, cases without a reference diagnosis, cases of the newest queue that
-- nobody has reviewed. No case is counted twice.
with newest as (
    select queue_id,
    from queues
    order by made_at desc, queue_id
    limit 1
),

open_cases as (
    select
        if(cases.unread is null, 2, 1) as place,
        if(cases.unread is null, 'no reference diagnosis', 'no reading') as state,
        truth.resolved_by as reason,
        null::text as class_name,
        cases.case_id,
        cases.patient_id,
    from cases
    inner join truth on truth.case_id = cases.case_id
    where truth.class_name is null
    union all
    select 3, 'not reviewed', null, outcomes.class_name, outcomes.case_id, outcomes.patient_id,
    from queue_outcomes as outcomes
    semi join newest on newest.queue_id = outcomes.queue_id
    where outcomes.outcome = 'untouched'
)

select state, reason, class_name, count(*) as cases, count(distinct patient_id) as patients,
from open_cases
group by place, state, reason, class_name
order by place, cases desc, reason, class_name;
