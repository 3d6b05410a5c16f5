-- What became of a queue's cases, by what their patients were drawn from, and the harm found per 50 reviews: what the
-- study says an error costs, of the label before where the class is what it is now.
with malignant as (
    select unnest(string_split($malignant, ',')) as class_name
),
items as (
    select
        *,
        class_name in (from malignant) as given_malignant,
        class_reviewed in (from malignant) as is_malignant,
    from queue_outcomes
    where queue_id = $queue
)
select
    case drawn_from
        when 'all' then 'drawn at random'
        when 'test' then 'drawn at random from the test set'
        else 'proposed'
    end as cases,
    count(*) as number,
    count(*) filter (where outcome = 'confirmed') as confirmed,
    count(*) filter (where outcome = 'changed') as changed,
    count(*) filter (where outcome = 'rejected') as rejected,
    count(*) filter (where outcome = 'unresolved') as unresolved,
    count(*) filter (where outcome = 'cannot_tell') as cannot_tell,
    count(*) filter (where outcome = 'untouched') as untouched,
    count(*) filter (where outcome <> 'untouched') as reviewed,
    50 * avg(case
        when outcome <> 'changed' then 0
        when is_malignant and not given_malignant then cast($malignant_called_benign as double)
        when given_malignant and not is_malignant then cast($benign_called_malignant as double)
        else cast($other as double)
    end) filter (where outcome <> 'untouched') as harm_per_50,
from items
group by drawn_from
order by drawn_from nulls first;
