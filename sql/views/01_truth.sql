-- The class each case is scored against: what the study's policy makes of its latest readings; a tie resolves nothing.
create or replace view truth as
select *,
from truth_at((select max(moment) from exports));
