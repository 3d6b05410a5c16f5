-- The landed exports and the reviews, with their lines and the latest time written in them.
select
    landed.export_id,
    landed.source,
    landed.sha256,
    count(lines.line) as rows,
    max(lines.latest_at) as latest_at,
    coalesce(any_value(moments.moment), 1) as moment,
from landed
left join lines on lines.export_id = landed.export_id
left join moments on moments.export_id = landed.export_id
group by all
union all
select review_files.review_id, source, sha256, rows, reviewed_at, moments.moment,
from review_files
inner join moments on moments.export_id = review_files.review_id
order by export_id;
