-- The annotators whose readings can be held against those of others.
select distinct annotator
from readings
where annotator is not null
order by annotator;
