-- One more run for the benchmark of questions: the predictions of $of, each with noise of its own, under the ID $run.
insert into predictions by name
with noisy as (
    select
        part,
        case_id,
        label_mass,
        normalised,
        list_transform(
            map_entries(log_likelihoods),
            lambda entry: {
                'key': entry.key,
                'value': entry.value + 4 * (hash($run || case_id || entry.key) / 18446744073709551615.0 - 0.5),
            }
        ) as entries,
    from predictions
    where run_id = $of
),
shared as (
    select
        *,
        list_sum(list_transform(entries, lambda entry: exp(entry.value))) as total,
    from noisy
),
chances as (
    select
        *,
        list_transform(
            entries, lambda entry: {'key': entry.key, 'value': exp(entry.value) / total}
        ) as shares,
    from shared
)
select
    $run as run_id,
    part,
    case_id,
    list_reverse_sort(list_transform(shares, lambda entry: {'value': entry.value, 'key': entry.key}))[1].key as predicted,
    least(list_max(list_transform(shares, lambda entry: entry.value)), 1) as confidence,
    label_mass,
    map_from_entries(shares) as probabilities,
    map_from_entries(entries) as log_likelihoods,
    normalised,
from chances
order by part, case_id;
