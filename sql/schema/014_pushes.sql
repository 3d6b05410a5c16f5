-- What `toolkit push --apply` has sent to Labelbox.

create table pushes ( -- One row for each thing that was sent, or was about to be; `rebuild` reads them from pushes/.
    push_id text not null, -- 8 hexadecimal digits of the SHA-256 of its kind and what it is about.
    kind text not null check (kind in ('queue', 'predictions', 'metadata')), -- What was pushed.
    subject text not null, -- ID of the queue, the run or the split.
    operation text not null, -- priority, issue, rework; model, run, rows, split, prediction; metadata_field, metadata.
    target text not null, -- ID of the Labelbox project or model run; of metadata, the field.
    item text not null, -- Tells the things of one operation apart.
    image_id text, -- The photograph; NULL where it is about none.
    label_id text, -- The label; NULL where it is about none.
    case_id text, -- The case; NULL where it is about none.
    value text, -- Priority, task queue, subset or class that was sent.
    state text not null check ( -- open: it was sent, and what became of it is not known yet; skipped: it was not needed.
        state in ('open', 'sent', 'skipped', 'failed', 'not_sent')
    ),
    service_id text, -- Labelbox ID of the task, the issue or the import.
    payload_sha256 text not null, -- SHA-256 of what was sent in the same call.
    sent_at timestamp not null, -- When it was about to be sent (UTC).
    ended_at timestamp, -- When its answer came (UTC); NULL = none has.
    answer text, -- What Labelbox or the toolkit says of it, in words; NULL where all is well.
    primary key (push_id, operation, target, item),
);
