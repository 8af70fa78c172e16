"""The rights of a PostgreSQL account beyond reading."""

from __future__ import annotations

from fluxport.sources.accounts import OWN_ACCOUNT, AccountCheck, column


def _excess(url: str) -> set[str]:
    """The account's rights beyond reading: its own, or through a role that it is a member of."""
    attributes = """
        SELECT unnest(array_remove(ARRAY[
            CASE WHEN rolsuper THEN 'everything (superuser)' END, CASE WHEN rolcreatedb THEN 'CREATE DATABASE' END,
            CASE WHEN rolcreaterole THEN 'CREATE ROLE' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END,
            CASE WHEN pg_has_role(current_user, 'pg_read_server_files', 'member') THEN 'read server files' END,
            CASE WHEN pg_has_role(current_user, 'pg_write_server_files', 'member') THEN 'write server files' END,
            CASE WHEN pg_has_role(current_user, 'pg_execute_server_program', 'member') THEN 'run programs' END
        ], NULL)) FROM pg_roles WHERE rolname = current_user"""
    tables = """
        SELECT DISTINCT privilege FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
            unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
        WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
            AND has_table_privilege(c.oid, privilege)"""
    return {*column(url, attributes), *column(url, tables)}


CHECK = AccountCheck(
    "SELECT 'PostgreSQL ' || current_setting('server_version')",
    _excess,
    f"{OWN_ACCOUNT}: GRANT SELECT ON ALL TABLES IN SCHEMA <schema> TO fluxport",
)
