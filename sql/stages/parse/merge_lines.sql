-- Settles, within each export, rows that repeat or contradict another: one status per line. A legacy entry is one
-- label's part of its photograph's row: it repeats or contradicts entries of the same label, or what another entry says
-- of the photograph.
create table line_status as
with decoded as (
    select *
    from lines
    where reason is null
),
contents as (
    select export_id, image_id, part, count(distinct content_sha256) as versions, min(line) as first_line,
    from decoded
    group by export_id, image_id, part
),
photographs as (
    select export_id, image_id, count(distinct facts_sha256) as versions,
    from decoded
    group by export_id, image_id
),
keys as (
    select lines.export_id, images.global_key, count(distinct images.image_id) as holders,
    from decoded as lines
    inner join images on images.export_id = lines.export_id and images.line = lines.line
    where images.global_key is not null
    group by lines.export_id, images.global_key
),
shared as (
    select distinct labels.export_id, labels.line,
    from labels
    inner join (
        select export_id, label_id,
        from labels
        group by export_id, label_id
        having count(distinct image_id) > 1
    ) as torn on torn.export_id = labels.export_id and torn.label_id = labels.label_id
),
checked as (
    select
        lines.export_id,
        lines.line,
        lines.at_line,
        lines.byte_offset,
        lines.image_id,
        case
            when lines.reason is not null then lines.reason
            when contents.versions > 1 or photographs.versions > 1 then 'conflicting_duplicate'
            when keys.holders > 1 then 'duplicate_global_key'
            when shared.line is not null then 'duplicate_label_id'
        end as reason,
        case
            when lines.reason is not null then lines.detail
            when contents.versions > 1 or photographs.versions > 1
                then 'the same photograph stands on several rows that say different things'
            when keys.holders > 1 then 'two photographs share this row''s global key'
            when shared.line is not null then 'two photographs share a label of this row'
        end as detail,
        coalesce(lines.line > contents.first_line, false) as again,
    from lines
    left join contents
        on contents.export_id = lines.export_id
        and contents.image_id = lines.image_id
        and contents.part is not distinct from lines.part
    left join photographs on photographs.export_id = lines.export_id and photographs.image_id = lines.image_id
    left join images on images.export_id = lines.export_id and images.line = lines.line
    left join shared on shared.export_id = lines.export_id and shared.line = lines.line
    left join keys on keys.export_id = lines.export_id and keys.global_key = images.global_key
)
select
    export_id,
    line,
    at_line,
    byte_offset,
    image_id,
    reason,
    detail,
    case
        when reason is not null then 'quarantined'
        when again then 'repeated'
        else 'stored'
    end as status,
from checked;
