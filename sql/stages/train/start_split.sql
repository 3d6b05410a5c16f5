-- How many cases of the split of an earlier run are known.
select count(*) as cases
from splits
where split_id = $start_split_id;
