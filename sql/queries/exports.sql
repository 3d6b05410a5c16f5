-- Which exports have landed, oldest first, and what did each contain?
select
    exports.moment,
    exports.export_id,
    exports.source,
    exports.latest_at,
    exports.rows,
    (select count(*) from image_history as history where history.export_id = exports.export_id) as photographs,
    (
        select count(*)
        from label_history as history
        where history.export_id = exports.export_id and history.revision is not null
    ) as labels,
from exports
order by exports.moment, exports.export_id;
