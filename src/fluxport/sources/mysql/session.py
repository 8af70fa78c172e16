"""The session of one export: what is set, the read-only snapshot, and ending a query from outside.

Two round trips, one after the other: some proxies mix up the answers of commands that are sent ahead.
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

QUIT, QUERY, STMT_PREPARE, STMT_EXECUTE, STMT_CLOSE = 0x01, 0x03, 0x16, 0x17, 0x19

# Modes that change what text means or how a value looks. They are taken out of the server's own sql_mode; all others
# (ONLY_FULL_GROUP_BY, NO_UNSIGNED_SUBTRACTION, ...) stay, so that a query answers as it does in the owner's client.
# A name that begins another one stands behind it: they are removed by text, in this order.
DIALECT_MODES = (
    "ANSI_QUOTES", "ANSI", "PIPES_AS_CONCAT", "NO_BACKSLASH_ESCAPES", "HIGH_NOT_PRECEDENCE", "IGNORE_SPACE",
    "PAD_CHAR_TO_FULL_LENGTH", "EMPTY_STRING_IS_NULL", "ORACLE", "MSSQL", "DB2", "MAXDB", "POSTGRESQL",
)  # fmt: skip
SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
UNKNOWN_VARIABLE = 1193
# A client that stalls (a slow download) is not to lose its rows; a dead one is found by the server's TCP keepalive.
WRITE_TIMEOUT_S = 86_400
# The server's own setting may cut every result, and no warning says that it did.
ROWS_UNLIMITED = 2**64 - 1
KILL_TIMEOUT_S = 2.0


def begin(wire: Wire, server: Server, deadline_s: float | None) -> None:
    """Set the session and start its read-only transaction; an error of either is an error of the export."""
    required, optional = settings(server, deadline_s)
    try:
        try:
            _run(wire, "SET " + ", ".join(required + optional))
        except ServerError as error:
            if error.number != UNKNOWN_VARIABLE:
                raise
            # Old servers and proxies lack one of the optional ones: what it limits they do not limit, or it has a
            # second line here, TCP keepalive and our own deadline.
            _run(wire, "SET " + ", ".join(required))
            for one in optional:
                _set_if_known(wire, one)
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


def settings(server: Server, deadline_s: float | None) -> tuple[list[str], list[str]]:
    """Assignments that must hold, and those that a server may lack."""
    mode = "@@sql_mode"
    for name in DIALECT_MODES:
        mode = f"REPLACE({mode}, '{name}', '')"
    required = ["NAMES utf8mb4", "time_zone = '+00:00'", f"sql_mode = {mode}"]
    optional = [f"net_write_timeout = {WRITE_TIMEOUT_S}", f"sql_select_limit = {ROWS_UNLIMITED}"]
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
    """A statement of ours that answers OK; ServerError if it does not."""
    wire.command(QUERY, statement.encode())
    if wire.packet()[:1] != b"\x00":
        raise wire.broken("answers a SET with rows")


def kill_query(dsn: Dsn, connection_id: int) -> None:
    """End ``connection_id`` and what it runs, over a second connection; best effort, for its socket is closed next.

    The connection and not its query alone: a server that is blocked writing to a peer that does not read looks for the
    end of a query only when it can write again.

    Behind an address that leads to several servers this may reach another one, where the account can end at most a
    query of its own; give exports the address of one server.
    """
    soon = dataclasses.replace(dsn, connect_timeout_s=KILL_TIMEOUT_S, read_timeout_s=KILL_TIMEOUT_S)
    wire = Wire(soon, time.monotonic() + KILL_TIMEOUT_S)
    with contextlib.suppress(FluxportError, ServerError):
        log_in(wire, soon)
        _run(wire, f"KILL CONNECTION {connection_id}")
        wire.command(QUIT)
    wire.close()
