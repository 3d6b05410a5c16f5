-- What of a run was chosen on the validation set, besides the epoch.
select
    (select count(*) from temperatures where run_id = $run_id and fitted_on = 'validation') as temperatures,
    (select count(*) from operating_points where run_id = $run_id and part = 'validation' and rule <> 'fixed') as thresholds;
