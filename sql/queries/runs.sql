-- Which runs are there, what were they trained on (elsewhere, where predictions came from a file), and how do they score?
with known as (
    select *,
    from runs
    union all by name
    select null::text as source_sha256, -- a registry of an earlier version lacks it
    where false
)

select
    runs.run_id,
    runs.model,
    runs.split_id,
    runs.train_cases,
    runs.train_patients,
    runs.source_sha256 is not null as from_file,
    scores.part,
    max(scores.value) filter (where metric = 'macro_recall') as macro_recall,
    max(scores.value) filter (where metric = 'macro_roc_auc') as macro_roc_auc,
    any_value(looks.times_scored) as times_scored,
from known as runs
left join scores on scores.run_id = runs.run_id
left join (
    select run_id, part, count(*) as times_scored,
    from evaluations
    group by run_id, part
) as looks on looks.run_id = scores.run_id and looks.part = scores.part
group by all
order by runs.run_id, scores.part;
