-- Log loss: the mean of -ln of the probability given to the truth; a probability of 0 counts as 2.2e-16.
select coalesce(-avg(ln(greatest(probabilities[truth], 2.220446049250313e-16))), 'nan') as value
from scored
where run_id = $run_id and part = $part
