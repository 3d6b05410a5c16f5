-- What every table, view and column of the registry says of itself.
select table_name, null::text as column_name, comment,
from duckdb_tables()
union all
select view_name, null, comment,
from duckdb_views()
where not internal
union all
select table_name, column_name, comment,
from duckdb_columns()
where not internal;
