"""The tables of a PostgreSQL database, its system's excepted, of which the account may read any column."""

from __future__ import annotations

from collections.abc import Iterator

from fluxport.sources.tables import Query, TableInfo, by_column

# reltuples is -1 for a table that was never analyzed; before version 14 it is 0.
_STATEMENT = """
    SELECT n.nspname, c.relname,
        CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
            WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END,
        CASE WHEN c.relkind <> 'v' AND (c.reltuples > 0
            OR c.reltuples = 0 AND current_setting('server_version_num')::int >= 140000) THEN c.reltuples::bigint END,
        a.attname, format_type(a.atttypid, a.atttypmod)
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
        AND has_any_column_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')
    ORDER BY 1, 2, a.attnum"""


def tables(query: Query) -> Iterator[TableInfo]:
    return by_column(query(_STATEMENT))
