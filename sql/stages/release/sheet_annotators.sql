-- Who read how many cases, and how often did their reading count?
select annotator, count(*) as readings, count(*) filter (where counts) as counted_readings,
from 'readings.parquet'
group by annotator
order by readings desc, annotator;
