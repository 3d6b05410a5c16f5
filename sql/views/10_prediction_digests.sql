-- A digest of a run's predictions of each part: where it is the same, they are.
create or replace view prediction_digests as
select
    run_id,
    part,
    sha256(string_agg(concat_ws(chr(0), case_id, predicted, probabilities::text), chr(10) order by case_id)) as sha256,
from predictions
group by run_id, part;
