-- What is known of each case: subset, reference diagnosis, votes, newest prediction, findings, queue?
-- $part = : subset of the newest split; empty = all cases
-- $part among train, validation, test, external
-- $class_name = : reference diagnosis; empty = all
-- $class_name among readings.class_name
select * exclude (metadata),
from case_table
where $part in ('', part) and $class_name in ('', reference_diagnosis)
order by case_id;
