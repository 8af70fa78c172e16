"""What the account of a connection may do beyond reading. Grants are the boundary: everything else comes second."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fluxport.errors import QueryFailed
from fluxport.sources import open_source, scheme_of
from fluxport.stages import Limits

LOOK_S = 10.0
# Privileges that let an account do no more than read what it was given.
_HARMLESS = frozenset(
    {"SELECT", "USAGE", "SHOW VIEW", "SHOW DATABASES", "PROCESS", "REPLICATION CLIENT", "BINLOG MONITOR"}
)


@dataclass(frozen=True)
class Account:
    """``server`` is its kind and version, ``excess`` what the account may do beyond reading, ``advice`` against it."""

    server: str
    excess: tuple[str, ...]
    advice: str

    @property
    def sentence(self) -> str:
        if not self.excess:
            return "it can only read."
        return f"it may also {', '.join(self.excess)}; {self.advice}."


def look(url: str) -> Account:
    """Ask the database of ``url``; raises what a query there raises."""
    dialect = DIALECTS[scheme_of(url)]
    server = _column(url, dialect.version)[0]
    return Account(server, tuple(sorted(dialect.excess(url))), dialect.advice)


def _column(url: str, statement: str) -> list[str]:
    source = open_source(url, statement, limits=Limits(deadline_s=LOOK_S))
    try:
        return [str(value) for batch in source.batches() for value in batch.column(0).to_pylist()]
    finally:
        source.close()


def excess_privileges(grant: str) -> set[str]:
    """What one line of SHOW GRANTS allows beyond reading."""
    found = re.match(r"GRANT (.+?) ON ", grant)
    if found is None:
        return set()
    names = {re.sub(r"\s*\(.*?\)", "", part).strip().upper() for part in re.split(r",(?![^(]*\))", found[1])}
    # Of every database, the server's own with the hashes of its passwords too.
    names = {
        f"{name} ON *.*" if name == "SELECT" and grant[found.end() :].startswith("*.* ") else name for name in names
    }
    passed_on = {"GRANT OPTION"} if grant.endswith("WITH GRANT OPTION") else set()
    return names - _HARMLESS | passed_on


def granted_role(grant: str) -> str | None:
    """The role that a line of SHOW GRANTS gives, as it is written there: ``GRANT `writer`@`%` TO ...``."""
    found = re.match(r"GRANT ((?:`(?:[^`]|``)+`(?:@`[^`]*`)?|'[^']+'(?:@'[^']*')?)) TO ", grant)
    return found[1] if found else None


def _mysql_excess(url: str) -> set[str]:
    """What the account may do beyond reading: as itself, or after SET ROLE, for which a role need not be its default.
    A role whose rights the server does not show counts as too much."""
    found: set[str] = set()
    looked_at: set[str] = set()
    grants = _column(url, "SHOW GRANTS")
    while grants:
        grant = grants.pop()
        found |= excess_privileges(grant)
        role = granted_role(grant)
        if role is not None and role not in looked_at:
            looked_at.add(role)
            try:
                grants += _column(url, f"SHOW GRANTS FOR {role}")
            except QueryFailed:
                found.add(f"SET ROLE {role}, whose rights it is not shown")
    return found


def _postgres_excess(url: str) -> set[str]:
    """What the account may do beyond reading: as itself, or through a role that it is a member of."""
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
    return {*_column(url, attributes), *_column(url, tables)}


class Dialect(NamedTuple):
    """How a kind of database tells its version, and what an account may do beyond reading."""

    version: str
    excess: Callable[[str], set[str]]
    advice: str


_OWN = "give exports an account of their own: "
_MYSQL = Dialect(
    "SELECT CONCAT('server ', VERSION())", _mysql_excess, f"{_OWN}GRANT SELECT ON <database>.* TO 'fluxport'@'...'"
)
_POSTGRES = Dialect(
    "SELECT 'PostgreSQL ' || current_setting('server_version')",
    _postgres_excess,
    f"{_OWN}GRANT SELECT ON ALL TABLES IN SCHEMA <schema> TO fluxport",
)
# A file is opened so that it can only be read, whoever opens it.
_SQLITE = Dialect("SELECT 'SQLite ' || sqlite_version()", lambda _: set(), "")
DIALECTS = {"mysql": _MYSQL, "mariadb": _MYSQL, "postgresql": _POSTGRES, "postgres": _POSTGRES, "sqlite": _SQLITE}
