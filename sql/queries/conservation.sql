-- Was anything lost between the exports and the registry?
select
    exports.source,
    noun,
    read,
    stored,
    quarantined,
    repeated,
    read - stored - quarantined as lost,
from conservation
inner join exports on exports.export_id = conservation.export_id
order by exports.source, noun;
