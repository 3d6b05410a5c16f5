-- The annotators' readings of cases at a moment of `exports`: `from readings_at(1)`.
create or replace macro readings_at(moment_asked) as table
select case_id, label_id, revision, object_id, annotator, class_name, counts, benchmark, is_verdict,
from reading_history
where since <= moment_asked and (until is null or until > moment_asked);
