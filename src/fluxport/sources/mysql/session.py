"""The session of one export: its settings, the read-only snapshot, and killing its query.

Two sequential round trips: some proxies mix up the responses of pipelined commands.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time

from fluxport.errors import FluxportError, QueryFailed
from fluxport.sources.mysql.dsn import Dsn
from fluxport.sources.mysql.handshake import Server, log_in
from fluxport.sources.mysql.servererrors import ServerError
from fluxport.sources.mysql.wire import Wire
from fluxport.stages import Limits

QUIT, QUERY, STMT_PREPARE, STMT_EXECUTE, STMT_CLOSE = 0x01, 0x03, 0x16, 0x17, 0x19

# Modes that change the syntax or the form of values. They are removed from the server's own sql_mode; all others
# (ONLY_FULL_GROUP_BY, NO_UNSIGNED_SUBTRACTION, ...) stay, so that a query returns what the owner's client shows.
# They are removed as text, in this order, so a name comes after the longer ones that begin with it.
DIALECT_MODES = (
    "ANSI_QUOTES", "ANSI", "PIPES_AS_CONCAT", "NO_BACKSLASH_ESCAPES", "HIGH_NOT_PRECEDENCE", "IGNORE_SPACE",
    "PAD_CHAR_TO_FULL_LENGTH", "EMPTY_STRING_IS_NULL", "ORACLE", "MSSQL", "DB2", "MAXDB", "POSTGRESQL",
)  # fmt: skip
SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
UNKNOWN_VARIABLE = 1193
# A slow download must not lose its rows; the server's TCP keepalive detects a client that is gone.
WRITE_TIMEOUT_S = 86_400
# The server's own setting may truncate every result, without a warning.
ROWS_UNLIMITED = 2**64 - 1
KILL_TIMEOUT_S = 2.0


def begin(wire: Wire, server: Server, limits: Limits, *, columns_only: bool = False) -> None:
    """Apply the session's settings and start its read-only transaction; an error of either fails the export."""
    required, optional = settings(server, limits, columns_only=columns_only)
    try:
        try:
            _run(wire, "SET " + ", ".join(required + optional))
        except ServerError as error:
            if error.number != UNKNOWN_VARIABLE:
                raise
            # Old servers and proxies may lack an optional variable: either they do not have its limit, or TCP keepalive
            # and our own deadline cover it.
            _run(wire, "SET " + ", ".join(required))
            for assignment in optional:
                _set_if_known(wire, assignment)
    except ServerError as error:
        raise error.translated() from None
    try:
        _run(wire, SNAPSHOT)
    except ServerError as error:
        raised = error.translated()
        if isinstance(raised, QueryFailed):
            raised = QueryFailed(
                f"The database does not start a read-only transaction (error {error.number}), and no export runs "
                "without one.",
                code="no_read_only",
                detail=raised.detail,
            )
        raise raised from None


def settings(server: Server, limits: Limits, *, columns_only: bool) -> tuple[list[str], list[str]]:
    """Required assignments, and optional ones, whose variables a server may lack.

    The server is never asked for fewer rows than the statement has: MariaDB applies ``sql_select_limit`` to the cursors
    of stored functions too, which would then compute other values.
    """
    deadline_s, rows = limits.deadline_s, 0 if columns_only else ROWS_UNLIMITED
    mode = "@@sql_mode"
    for name in DIALECT_MODES:
        mode = f"REPLACE({mode}, '{name}', '')"
    required = ["NAMES utf8mb4", "time_zone = '+00:00'", f"sql_mode = {mode}"]
    optional = [f"net_write_timeout = {WRITE_TIMEOUT_S}", f"sql_select_limit = {rows}"]
    if deadline_s is not None:
        if server.is_mariadb:
            optional.append(f"max_statement_time = {max(deadline_s, 0.001):.3f}")
        else:
            optional.append(f"max_execution_time = {max(1, round(deadline_s * 1000))}")
    return required, optional


def _set_if_known(wire: Wire, assignment: str) -> None:
    try:
        _run(wire, "SET " + assignment)
    except ServerError as error:
        if error.number != UNKNOWN_VARIABLE:
            raise


def _run(wire: Wire, statement: str) -> None:
    """Run a statement of ours that returns OK; ServerError if it fails."""
    wire.command(QUERY, statement.encode())
    if wire.packet()[:1] != b"\x00":
        raise wire.broken("answers a SET with rows")


def kill_query(dsn: Dsn, connection_id: int) -> None:
    """Kill ``connection_id`` and its query over a second connection; best effort, as its socket is closed next.

    KILL CONNECTION and not KILL QUERY: a server blocked in a write to a peer that does not read notices a killed query
    only when it can write again.

    A load-balanced address may lead to another server, where the account can kill at most a query of its own; give
    exports the address of one server.
    """
    impatient = dataclasses.replace(dsn, connect_timeout_s=KILL_TIMEOUT_S, read_timeout_s=KILL_TIMEOUT_S)
    wire = Wire(impatient, time.monotonic() + KILL_TIMEOUT_S)
    with contextlib.suppress(FluxportError, ServerError):
        log_in(wire, impatient)
        _run(wire, f"KILL CONNECTION {connection_id}")
        wire.command(QUIT)
    wire.close()
