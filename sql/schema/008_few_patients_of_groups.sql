-- Scores of groups are marked as all others are.

alter table subgroup_scores add column too_few boolean; -- Fewer patients than the interval needs, in all or in a class; NULL = not recorded.
