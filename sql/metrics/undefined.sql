-- Undefined: the file that the run's predictions were read from does not give the numbers that this rests on.
select 'nan'::double as value
