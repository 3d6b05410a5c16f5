-- What attached files say of the patients of the stored photographs, each value once.
select distinct
    file,
    patient_id,
    name,
    kind,
    value,
    if(kind = 'number', try_cast(value as double), null) as number,
    if(kind in ('date', 'time'), try_cast(value as timestamp), null) as day,
from attached_rows
semi join merged_images using (patient_id)
qualify row_number() over (partition by patient_id, name, value order by file) = 1
order by file, patient_id, name, value;
