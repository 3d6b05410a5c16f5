-- Comparisons are marked as scores are; what the mark means now holds for every row.

alter table comparisons add column too_few boolean; -- Fewer patients than the interval needs, in all or in a class; NULL = not recorded.
comment on column scores.too_few is 'Fewer patients than the interval needs to cover what it states, in all or in a class that it rests on.';
comment on column comparisons.method is 'How interval and p were made, both by one method.';
comment on column comparisons.replicates is 'Replicates of bootstrap and permutation, by earlier versions; 0 where none.';
