-- Checks a split for leakage from its two files alone. Run it in their folder, in the plain duckdb shell:
--     duckdb < verify.sql
-- It answers PASS, or one row per fault. This file is the same for every split; whoever got it from a stranger reads it
-- first, or runs `toolkit verify`, which compares it with those that the toolkit has written and runs its own.
with cases as (
    select *
    from read_csv('cases.csv', header = true, all_varchar = true, auto_detect = false, delim = ',', quote = '"',
        columns = {
            'case_id': 'varchar', 'part': 'varchar', 'patient_id': 'varchar', 'lesion_id': 'varchar',
            'group_id': 'varchar', 'class_name': 'varchar', 'photograph_digest': 'varchar',
            'crop_digest': 'varchar', 'strata': 'varchar'
        })
),
certificate as (
    select *
    from read_json('certificate.json', columns = {
        'counts': 'map(varchar, map(varchar, bigint))',
        'binds': 'varchar[]',
        'links': 'struct(relation varchar, patient_id varchar, other_patient_id varchar)[]',
        'strata': 'struct(stratum varchar, value varchar, counts map(varchar, bigint), wished map(varchar, double), distance double)[]'
    })
),
part_counts as (
    select unnest(map_entries(counts)) as entry,
    from certificate
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
links as (
    select unnest(links, recursive := true),
    from certificate
),
stated_strata as (
    select unnest(strata, recursive := true),
    from certificate
),
stated_cells as (
    select stratum, value, unnest(map_entries(counts)) as entry, wished,
    from stated_strata
),
cells as (
    select stratum, value, entry.key as part, entry.value as cases, wished[entry.key] as wished,
    from stated_cells
),
entries as (
    select part, unnest(map_entries(strata::json::map(varchar, varchar))) as entry,
    from cases
),
counted_cells as (
    select 'class' as stratum, class_name as value, part, count(*) as cases,
    from cases
    group by all
    union all
    select entry.key, entry.value, part, count(*),
    from entries
    group by all
    union all
    select 'all cases', '', part, count(*),
    from cases
    group by all
    union all
    select 'patients', '', part, count(distinct patient_id),
    from cases
    group by all
),
distances as (
    select stratum, value, max(abs(cases - wished)) as distance,
    from cells
    group by stratum, value
),
divided_photographs as (
    select photograph_digest, count(distinct part) as parts
    from cases
    where photograph_digest <> ''
    group by photograph_digest
    having count(distinct part) > 1
),
binding as (
    select list_contains(binds, 'identical_pixels') as photographs_bind
    from certificate
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
    select 'a lesion stands in two parts', patient_id || ' / ' || lesion_id, count(distinct part),
    from cases
    where lesion_id <> ''
    group by patient_id, lesion_id
    having count(distinct part) > 1
    union all
    select 'a group of linked patients stands in two parts', group_id, count(distinct part),
    from cases
    group by group_id
    having count(distinct part) > 1
    union all
    select 'a patient stands in two groups', patient_id, count(distinct group_id),
    from cases
    group by patient_id
    having count(distinct group_id) > 1
    union all
    select 'linked patients stand in two parts', links.patient_id || ' / ' || links.other_patient_id, 2,
    from links
    inner join (select distinct patient_id, part from cases) as first on first.patient_id = links.patient_id
    inner join (select distinct patient_id, part from cases) as other on other.patient_id = links.other_patient_id
    where first.part <> other.part
    union all
    select 'a photograph stands in two parts', photograph_digest, parts
    from divided_photographs
    where (select photographs_bind from binding)
    union all
    select 'an identifier is missing or not plainly written', case_id, count(*)
    from cases
    where not coalesce(
        regexp_full_match(case_id, '[a-z0-9][a-z0-9-]*')
        and regexp_full_match(patient_id, '[a-z0-9][a-z0-9-]*')
        and regexp_full_match(group_id, '[a-z0-9][a-z0-9-]*')
        and regexp_full_match(coalesce(lesion_id, ''), '([a-z0-9][a-z0-9-]*)?')
        and regexp_full_match(coalesce(photograph_digest, ''), '([0-9a-f]{32})?')
        and regexp_full_match(class_name, '[A-Za-z0-9][A-Za-z0-9 _.+-]*'), false
    )
    group by case_id
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
    select
        'a stratum is not as the certificate states',
        concat_ws(' / ', coalesce(cells.part, found.part), coalesce(cells.stratum, found.stratum), coalesce(cells.value, found.value)),
        coalesce(found.cases, 0),
    from cells
    full join counted_cells as found
        on found.part = cells.part and found.stratum = cells.stratum and found.value = cells.value
    where coalesce(cells.cases, 0) <> coalesce(found.cases, 0)
    union all
    select 'a distance is not as the certificate states', stated_strata.stratum || ' / ' || stated_strata.value, 1,
    from stated_strata
    left join distances
        on distances.stratum = stated_strata.stratum and distances.value = stated_strata.value
    where distances.distance is null or abs(distances.distance - stated_strata.distance) > 1e-5
    union all
    select 'there is no case at all', 'cases.csv', 0,
    where not exists (from cases)
)
select fault as verdict, which, times,
from faults
union all
select
    'PASS',
    'cases in ' || (select count(distinct part) from cases) || ' parts' || coalesce(
        (select '; ' || count(*) || ' photographs in two of them, which this split permits'
        from divided_photographs having count(*) > 0), ''
    ),
    (select count(*) from cases),
where not exists (from faults)
order by verdict, which;
