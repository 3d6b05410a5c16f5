-- What speaks against each label of a queue, also of those that were drawn at random.

alter table queue_items add column evidence text; -- What speaks against the label, in a sentence; NULL in queues of earlier versions.
