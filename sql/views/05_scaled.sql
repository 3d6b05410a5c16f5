-- The scored predictions at the run's temperature: probabilities to the power of 1/temperature, summing to 1 again.
create or replace view scaled as
with decisions as (
    select scored.run_id, part, case_id, unnest(map_entries(probabilities)) as entry, 1 / temperature as exponent
    from scored
    inner join temperatures on temperatures.run_id = scored.run_id
),
powered as (
    select run_id, part, case_id, entry.key as class_name, pow(entry.value, exponent) as power
    from decisions
),
chances as (
    select *, power / sum(power) over (partition by run_id, part, case_id) as chance
    from powered
),
cases as (
    select run_id, part, case_id, map_from_entries(list((class_name, chance))) as probabilities
    from chances
    group by run_id, part, case_id
)
select
    scored.run_id,
    scored.part,
    scored.case_id,
    scored.patient_id,
    scored.truth,
    scored.predicted,
    cases.probabilities[scored.predicted] as confidence,
    scored.label_mass,
    cases.probabilities,
from scored
inner join cases
    on cases.run_id = scored.run_id and cases.part = scored.part and cases.case_id = scored.case_id;
