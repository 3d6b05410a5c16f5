-- What do readers reach without the model, with it, and is there a difference (reader study)?
-- $metric = : accuracy, recall, specificity or roc_auc; empty = all
-- $metric among reader_study.metric
-- $inference = readers and cases: for whom it holds: readers and cases, cases, readers or one reader
-- $inference among readers and cases, cases, readers, one reader
select metric, inference, reader, reading, value, low, high, confidence, f, df, p, readers, cases, patients, method, truth_id,
from reader_study
where $metric in ('', metric) and inference = $inference
order by metric, reader, reading <> 'unaided', reading <> 'aided';
