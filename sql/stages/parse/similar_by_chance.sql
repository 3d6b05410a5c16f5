-- Kinds of similar IDs that are too frequent by chance to tell slips, with their pairs.
select how, count(*) as pairs, min(by_chance) as by_chance,
from similar_patients
where how <> 'leading zeros or .0' and by_chance >= 1
group by how
order by how;
