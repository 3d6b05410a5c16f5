-- How many scored cases of each part have a ROI that annotators drew, and of how many patients these and the others are.
select
    scored.part,
    count(*) as cases,
    count(cases.roi_width) as drawn,
    [
        count(distinct cases.patient_id) filter (where cases.roi_width is not null),
        count(distinct cases.patient_id) filter (where cases.roi_width is null),
    ] as patients,
from scored
inner join cases on cases.case_id = scored.case_id
where scored.run_id = $run_id
group by scored.part;
