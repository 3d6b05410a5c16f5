-- Checks a split for leakage from its two files alone. Run it in their folder, in the plain duckdb shell:
--     duckdb < verify.sql
-- It answers PASS, or one row per fault. This file is the same for every split.
with cases as (
    select *
    from read_csv('cases.csv', header = true, all_varchar = true, auto_detect = false, delim = ',', quote = '"',
        columns = {
            'case_id': 'varchar', 'part': 'varchar', 'patient_id': 'varchar', 'group_id': 'varchar',
            'class_name': 'varchar', 'photograph_digest': 'varchar'
        })
),
part_counts as (
    select unnest(map_entries(counts)) as entry,
    from read_json('certificate.json', columns = {'counts': 'map(varchar, map(varchar, bigint))'})
),
class_counts as (
    select entry.key as part, unnest(map_entries(entry.value)) as entry,
    from part_counts
),
stated as (
    select part, entry.key as class_name, entry.value as cases,
    from class_counts
),
counted as (
    select part, class_name, count(*) as cases,
    from cases
    group by part, class_name
),
faults as (
    select 'a case stands on two rows' as fault, case_id as which, count(*) as times,
    from cases
    group by case_id
    having count(*) > 1
    union all
    select 'a patient stands in two parts', patient_id, count(distinct part),
    from cases
    group by patient_id
    having count(distinct part) > 1
    union all
    select 'a group of linked patients stands in two parts', group_id, count(distinct part),
    from cases
    group by group_id
    having count(distinct part) > 1
    union all
    select 'a photograph stands in two parts', photograph_digest, count(distinct part),
    from cases
    where photograph_digest <> ''
    group by photograph_digest
    having count(distinct part) > 1
    union all
    select 'a part is none of train, validation, test, external', part, count(*),
    from cases
    where part not in ('train', 'validation', 'test', 'external') or part is null
    group by part
    union all
    select
        'a count is not as the certificate states',
        coalesce(stated.part, counted.part) || ' / ' || coalesce(stated.class_name, counted.class_name),
        coalesce(counted.cases, 0),
    from stated
    full join counted on counted.part = stated.part and counted.class_name = stated.class_name
    where coalesce(stated.cases, 0) <> coalesce(counted.cases, 0)
    union all
    select 'there is no case at all', 'cases.csv', 0,
    where not exists (from cases)
)
select fault as verdict, which, times,
from faults
union all
select 'PASS', 'cases in ' || (select count(distinct part) from cases) || ' parts', (select count(*) from cases),
where not exists (from faults)
order by verdict, which;
