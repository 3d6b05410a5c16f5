-- One row per annotator: what each has read, how often that is the reference diagnosis where others read too, when.
create or replace view annotators as
select
    readings.annotator, -- Pseudonym.
    count(*) as readings, -- Readings of cases, by the latest revision of labels that are still there.
    count(*) filter (where truth.readings > 1) as shared, -- Of these, readings of cases that others read too.
    count(*) filter (where truth.readings > 1 and readings.class_name = truth.class_name)
        / nullif(count(*) filter (where truth.readings > 1), 0) as agreement, -- Share of those that are the reference diagnosis.
    median(labels.seconds_to_create) as median_seconds, -- Median time for a label, as Labelbox counted.
    min(coalesce(labels.updated_at, labels.created_at)) as first_at, -- First of these labels (UTC).
    max(coalesce(labels.updated_at, labels.created_at)) as last_at, -- Last of these labels (UTC).
from readings
inner join truth on truth.case_id = readings.case_id
left join labels on labels.label_id = readings.label_id and labels.revision = readings.revision
where readings.annotator is not null
group by readings.annotator;
