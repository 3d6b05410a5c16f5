-- How the audit and the newest queue stand to today's labels, and how many exports of a workspace were parsed, in one row.
with resolved as (
    select case_id, class_name,
    from truth
    where class_name is not null
),
newest as (
    from queues
    order by made_at desc, queue_id
    limit 1
)
select
    (select coalesce(list(export_id), []) from exports) as parsed,
    (
        select count(*)
        from resolved
        full join label_evidence using (case_id)
        where resolved.class_name is distinct from label_evidence.class_name
    ) as audit_differs,
    (select queue_id from newest) as queue_id,
    (select truth_id from newest) is distinct from (select truth_id from label_states) as queue_is_older,
    (select count(*) from queue_items where queue_id = (select queue_id from newest)) as queued,
    (
        select count(*)
        from queue_outcomes
        where queue_id = (select queue_id from newest) and outcome <> 'untouched'
    ) as reviewed;
