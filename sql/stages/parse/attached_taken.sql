-- The attached columns whose names are those of metadata fields of the exports, each as a sentence.
select distinct
    attached_rows.name || ': the exports have a metadata field of this name; the column of ' || attached_rows.file
        || ' is not used' as detail,
from attached_rows
semi join (select metadata.name from metadata semi join newest using (export_id, line)) as fields
    on lower(fields.name) = lower(attached_rows.name)
order by detail;
