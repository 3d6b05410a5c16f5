-- How much was labelled and reviewed in each week, and in all up to then?
select week, labels, cases, verdicts, labels_so_far, cases_so_far,
from progress
order by week;
