-- Summary of a run's predictions in some parts.
select
    avg(label_mass) as mean_label_mass,
    count(*) filter (where predicted <> normalised) as flipped,
    if(count(generated) = 0, null, count(*) filter (where generated is not null and generated_class is null))
        as unparseable,
    exists (from scores where scores.run_id = $run_id) as scored,
from predictions
where run_id = $run_id and list_contains(string_split($parts, chr(31)), part);
