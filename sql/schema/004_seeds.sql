-- Which seed a run was trained with, and which runs are one training with several seeds.

alter table runs add column seed bigint;
alter table runs add column replicate_of text;
comment on column runs.seed is 'Seed of the training: initial weights, order and augmentation; NULL where it was not recorded.';
comment on column runs.replicate_of is 'The run that this one repeats with another seed; NULL for the run that is reported.';
