-- The reference diagnosis of each case: the study's policy applied to its latest readings, or a reviewer's verdict; a tie gives none.
create or replace view truth as
select *,
from truth_at((select max(moment) from exports));
