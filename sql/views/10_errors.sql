-- Every case that the newest run got wrong; ordered by confidence, the most confident errors come first.
create or replace view errors as
select misclassified.*,
from misclassified
inner join run_names on run_names.run_id = misclassified.run_id
where run_names.name = 'latest';
