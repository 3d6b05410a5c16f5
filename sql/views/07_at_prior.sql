-- The scored predictions with the class shares of the training set instead of equal ones: p times the share, summing to 1.
create or replace view at_prior as
with shares as (
    select runs.run_id, splits.class_name, count(*) as cases
    from runs
    inner join splits on splits.split_id = runs.split_id and splits.part = 'train'
    group by runs.run_id, splits.class_name
),
decisions as (
    select run_id, part, case_id, unnest(map_entries(probabilities)) as entry
    from scored
),
weighed as (
    select decisions.*, entry.key as class_name, entry.value * coalesce(shares.cases, 0) as weight
    from decisions
    left join shares on shares.run_id = decisions.run_id and shares.class_name = decisions.entry.key
),
chances as (
    select *, weight / sum(weight) over (partition by run_id, part, case_id) as chance
    from weighed
),
cases as (
    select
        run_id,
        part,
        case_id,
        map_from_entries(list((class_name, chance))) as probabilities,
        max(chance) as confidence,
        arg_max(class_name, chance) as predicted,
    from chances
    group by run_id, part, case_id
)
select
    scored.run_id,
    scored.part,
    scored.case_id,
    scored.patient_id,
    scored.truth,
    cases.predicted,
    cases.confidence,
    scored.label_mass,
    cases.probabilities,
from scored
inner join cases
    on cases.run_id = scored.run_id and cases.part = scored.part and cases.case_id = scored.case_id;
