"""The tables of 0.1, and the columns that databases of unversioned programs lack.

Each statement does nothing if its object exists. So this step creates the tables of an empty database, adopts a
database that a program of 0.1 created, and completes one of an earlier commit.
"""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from fluxport.errors import Refused

_TYPES = {
    "sqlite": {"double": "DOUBLE", "bytes": "BLOB", "serial": "INTEGER"},
    "postgresql": {"double": "DOUBLE PRECISION", "bytes": "BYTEA", "serial": "SERIAL"},
}
_TABLES = """
CREATE TABLE IF NOT EXISTS exports (
    id VARCHAR(36) NOT NULL,
    owner VARCHAR(128) NOT NULL,
    door VARCHAR(16) NOT NULL,
    scope VARCHAR(128) NOT NULL,
    key_id VARCHAR(64),
    stored BOOLEAN NOT NULL,
    status VARCHAR(16) NOT NULL,
    phase VARCHAR(16),
    spec JSON NOT NULL,
    idempotency_key VARCHAR(255),
    body_sha256 VARCHAR(64),
    priority INTEGER NOT NULL,
    counted BOOLEAN NOT NULL,
    fence INTEGER NOT NULL,
    rows BIGINT NOT NULL,
    rows_total BIGINT,
    bytes BIGINT NOT NULL,
    result JSON,
    attempts INTEGER NOT NULL,
    attempt_errors JSON NOT NULL,
    error JSON,
    notify JSON NOT NULL,
    request_id VARCHAR(64) NOT NULL,
    trace_id VARCHAR(32) NOT NULL,
    address VARCHAR(64) NOT NULL,
    created_at {double} NOT NULL,
    started_at {double},
    finished_at {double},
    expires_at {double},
    PRIMARY KEY (id),
    UNIQUE (owner, idempotency_key)
);
CREATE TABLE IF NOT EXISTS events (
    export_id VARCHAR(36) NOT NULL,
    seq INTEGER NOT NULL,
    kind VARCHAR(16) NOT NULL,
    data JSON NOT NULL,
    at {double} NOT NULL,
    PRIMARY KEY (export_id, seq)
);
CREATE TABLE IF NOT EXISTS pushes (
    export_id VARCHAR(36) NOT NULL,
    held_until {double} NOT NULL,
    PRIMARY KEY (export_id)
);
CREATE TABLE IF NOT EXISTS used_links (
    token_sha256 VARCHAR(64) NOT NULL,
    export_id VARCHAR(36) NOT NULL,
    used_at {double} NOT NULL,
    expires_at {double} NOT NULL,
    PRIMARY KEY (token_sha256)
);
CREATE TABLE IF NOT EXISTS audit (
    id {serial} NOT NULL,
    at {double} NOT NULL,
    owner VARCHAR(128) NOT NULL,
    action VARCHAR(32) NOT NULL,
    export_id VARCHAR(36),
    outcome VARCHAR(32) NOT NULL,
    address VARCHAR(64) NOT NULL,
    detail JSON NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE IF NOT EXISTS queue (
    export_id VARCHAR(36) NOT NULL,
    connection VARCHAR(255) NOT NULL,
    owner VARCHAR(128) NOT NULL,
    priority INTEGER NOT NULL,
    asked_at {double} NOT NULL,
    due_at {double} NOT NULL,
    worker VARCHAR(64),
    PRIMARY KEY (export_id)
);
CREATE TABLE IF NOT EXISTS tells (
    export_id VARCHAR(36) NOT NULL,
    target VARCHAR(32) NOT NULL,
    tries INTEGER NOT NULL,
    due_at {double} NOT NULL,
    worker VARCHAR(64),
    PRIMARY KEY (export_id, target)
);
CREATE TABLE IF NOT EXISTS executors (
    id VARCHAR(64) NOT NULL,
    seen_at {double} NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE IF NOT EXISTS probes (
    id INTEGER NOT NULL,
    at {double} NOT NULL,
    filling TEXT NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE IF NOT EXISTS schedules (
    name VARCHAR(255) NOT NULL,
    definition TEXT NOT NULL,
    looked_at {double} NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE IF NOT EXISTS counters (
    name VARCHAR(64) NOT NULL,
    labels TEXT NOT NULL,
    value {double} NOT NULL,
    PRIMARY KEY (name, labels)
);
CREATE TABLE IF NOT EXISTS used_signatures (
    signature {bytes} NOT NULL,
    expires_at {double} NOT NULL,
    PRIMARY KEY (signature)
);
CREATE TABLE IF NOT EXISTS keys (
    id VARCHAR(16) NOT NULL,
    name VARCHAR(128) NOT NULL,
    secret_sha256 VARCHAR(64) NOT NULL,
    owner VARCHAR(128) NOT NULL,
    scopes JSON NOT NULL,
    active_max INTEGER,
    own_results BOOLEAN NOT NULL,
    mail_domains JSON,
    created_at {double} NOT NULL,
    expires_at {double},
    last_used_at {double},
    revoked_at {double},
    PRIMARY KEY (id)
);
CREATE TABLE IF NOT EXISTS users (
    name VARCHAR(128) NOT NULL,
    password_hash VARCHAR(255) NOT NULL,
    scopes JSON NOT NULL,
    created_at {double} NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE IF NOT EXISTS sessions (
    token_sha256 VARCHAR(64) NOT NULL,
    owner VARCHAR(128) NOT NULL,
    how VARCHAR(16) NOT NULL,
    created_at {double} NOT NULL,
    used_at {double} NOT NULL,
    PRIMARY KEY (token_sha256)
);
CREATE TABLE IF NOT EXISTS login_attempts (
    owner VARCHAR(128) NOT NULL,
    address VARCHAR(64) NOT NULL,
    pause_s {double} NOT NULL,
    next_at {double} NOT NULL,
    PRIMARY KEY (owner, address)
);
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS exports_by_owner ON exports (owner, created_at);
CREATE INDEX IF NOT EXISTS exports_by_status ON exports (status, expires_at);
CREATE INDEX IF NOT EXISTS ix_pushes_held_until ON pushes (held_until);
CREATE INDEX IF NOT EXISTS ix_used_links_export_id ON used_links (export_id);
CREATE INDEX IF NOT EXISTS ix_audit_at ON audit (at);
CREATE INDEX IF NOT EXISTS ix_audit_export_id ON audit (export_id);
CREATE INDEX IF NOT EXISTS ix_audit_owner ON audit (owner);
CREATE INDEX IF NOT EXISTS queue_by_connection ON queue (connection, owner, worker);
CREATE INDEX IF NOT EXISTS queue_by_worker ON queue (worker, due_at);
CREATE INDEX IF NOT EXISTS tells_by_worker ON tells (worker, due_at);
CREATE INDEX IF NOT EXISTS ix_used_signatures_expires_at ON used_signatures (expires_at);
CREATE INDEX IF NOT EXISTS ix_keys_owner ON keys (owner);
CREATE UNIQUE INDEX IF NOT EXISTS keys_by_name ON keys (name) WHERE revoked_at IS NULL;
CREATE INDEX IF NOT EXISTS ix_sessions_owner ON sessions (owner);
CREATE INDEX IF NOT EXISTS ix_login_attempts_next_at ON login_attempts (next_at);
"""
# Columns that were added to existing tables before 0.1.
_ADDED = {
    "exports": {"scope": "VARCHAR(128) NOT NULL DEFAULT ''", "key_id": "VARCHAR(64)"},
    "keys": {"own_results": "BOOLEAN NOT NULL DEFAULT false", "mail_domains": "JSON"},
}

_exports = sa.table(
    "exports",
    *(sa.column(name) for name in ("id", "owner", "scope", "stored", "status", "priority", "created_at")),
    sa.column("spec", sa.JSON),
)
_pushes = sa.table("pushes", sa.column("export_id"))
_queue = sa.table(
    "queue",
    *(sa.column(name) for name in ("export_id", "connection", "owner", "priority", "asked_at", "due_at")),
)


def apply(connection: sa.Connection) -> None:
    inspected = sa.inspect(connection)
    existing = {name: {c["name"] for c in inspected.get_columns(name)} for name in inspected.get_table_names()}
    for statement in _statements(_TABLES.format(**_TYPES[connection.dialect.name])):
        _check_ours(statement, existing)
        connection.exec_driver_sql(statement)
    if "exports" in existing:
        _complete(connection, existing)
    for statement in _statements(_INDEXES):
        connection.exec_driver_sql(statement)


def _statements(text: str) -> list[str]:
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def _check_ours(create: str, existing: dict[str, set[str]]) -> None:
    """Refused if a table of this name exists and belongs to another program."""
    name, *columns = re.findall(r"(?:^    |EXISTS )([a-z0-9_]+) ", create, re.MULTILINE)
    lacking = set(columns) - existing.get(name, set(columns)) - set(_ADDED.get(name, ()))
    if lacking:
        raise Refused(
            f"The database that the setting 'database' names has a table {name!r} of another program: it has no column "
            f"{', '.join(sorted(lacking))}. Name another database.",
            code="bad_configuration",
        )


def _complete(connection: sa.Connection, existing: dict[str, set[str]]) -> None:
    """Add the columns and queue rows that programs before 0.1 did not write."""
    for table, columns in _ADDED.items():
        for name, kind in columns.items():
            if name not in existing[table]:
                connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
                # SQLite cannot drop a default; every INSERT sets these columns.
                if "DEFAULT" in kind and connection.dialect.name == "postgresql":
                    connection.exec_driver_sql(f"ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT")
    if "scope" not in existing["exports"]:
        connection.execute(sa.update(_exports).values(scope=_scope()))
    if "queue" not in existing:
        connection.execute(sa.insert(_queue).from_select(list(_queue.c.keys()), _waiting()))


def _scope() -> sa.ColumnElement[str]:
    """The scope that a caller needed for the export."""
    spec = {name: _exports.c.spec[name].as_string() for name in ("series", "pushed", "dataset", "connection")}
    return sa.case(
        (spec["series"].is_not(None), "series"),
        (spec["pushed"].is_not(None), "push"),
        (spec["dataset"].is_not(None), sa.literal("dataset:") + spec["dataset"]),
        else_=sa.literal("sql:") + spec["connection"],
    )


def _waiting() -> sa.Select[Any]:
    """The unfinished exports as rows of the queue."""
    return sa.select(
        _exports.c.id,
        _exports.c.spec["connection"].as_string(),
        _exports.c.owner,
        _exports.c.priority,
        _exports.c.created_at,
        sa.literal(0.0),
    ).where(
        _exports.c.stored.is_(True),
        _exports.c.status.in_(("queued", "running")),
        _exports.c.id.not_in(sa.select(_pushes.c.export_id)),
    )
