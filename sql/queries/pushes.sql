-- What was sent to Labelbox, when, and what came of it?
-- $kind = : queue, predictions or metadata; empty = all
-- $kind among queue, predictions, metadata
-- $state = : open, sent, skipped, failed or not_sent; empty = all
-- $state among open, sent, skipped, failed, not_sent
select
    push_id,
    kind,
    subject,
    operation,
    target,
    image_id,
    label_id,
    case_id,
    value,
    state,
    service_id,
    sent_at,
    ended_at,
    answer,
from pushes
where (kind = $kind or $kind = '') and (state = $state or $state = '')
order by sent_at, push_id, operation, target, item;
