-- What columns of evaluations mean since groups are compared at the same mix of classes, and sensitivity is confirmed twice.
comment on column subgroup_scores.difference is 'Value minus that of all other cases, at the same mix of classes: of the classes that both have, each with the same weight; NaN where it is not compared.';
comment on column subgroup_scores.p is 'Two-sided p of the difference, from permutations of patients between the group and all others.';
comment on column subgroup_scores.replicates is 'Permutations for the difference; 0 where there is none.';
comment on column subgroup_scores.worst is 'The group furthest below the others in this metric, of those with q < 0.05.';
comment on column guarantees.at_least is 'Share of patients without a missed case that is exceeded with this confidence (exact binomial, one-sided); NaN without any.';
comment on column guarantees.vouched is 'Whether that, and the lower bound of the recall of cases, reach what is required.';
