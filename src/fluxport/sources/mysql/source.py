"""MySQL and MariaDB: one query's rows as record batches straight from the wire.

Each export has its own connection: log in, one read-only snapshot transaction, PREPARE and EXECUTE (rows in the binary
protocol, unbuffered); the text protocol where a statement cannot be prepared or is exact only there. numpy and pyarrow
are imported after the query has been sent, while the server runs it.
::

    socket -> wire.py: packets -> rows.py: blocks of whole rows -> binary.py | text.py: cells -> cells.py: Arrow arrays
"""

from __future__ import annotations

import importlib
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fluxport.errors import Canceled, FluxportError, QueryFailed, Refused
from fluxport.findings import Findings
from fluxport.sources.mysql import serverwarnings, session
from fluxport.sources.mysql.definitions import Definition, need_text, parse_definition
from fluxport.sources.mysql.dsn import Dsn, parse_dsn
from fluxport.sources.mysql.handshake import DEPRECATE_EOF, MARIADB_EXTENDED_METADATA, Server, log_in
from fluxport.sources.mysql.params import encoded, immediate, positional
from fluxport.sources.mysql.servererrors import ServerError
from fluxport.sources.mysql.wire import Wire, read_lenenc
from fluxport.stages import Batches, Limits

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.sources.mysql.columns import Column
    from fluxport.sources.mysql.rows import Block, Rows
    from fluxport.sources.table import SourceOptions

# A statement that cannot be prepared (some SHOW), a server without prepared statements, or with too many of them.
NOT_PREPARABLE = frozenset({1295, 1235, 1047, 1461})
CLOSE_WAIT_S = 2.0


class MySqlSource:
    """See :class:`fluxport.stages.Source`."""

    served = True

    def __init__(
        self,
        url: str,
        query: str,
        params: Sequence[Any] | Mapping[str, Any],
        options: SourceOptions,
        findings: Findings,
        limits: Limits,
    ) -> None:
        self._dsn = parse_dsn(
            url,
            replace(Dsn(tinyint1_bool=options.tinyint1_bool, shown=options.shown), **options.timeouts),
        )
        self._query, self._params = positional(query, params)
        self._values = encoded(self._params)
        self._findings = findings
        self._limits = limits
        self._lock = threading.Lock()  # guards _closed, _wire, _running
        self._busy = threading.Lock()  # held while a thread uses the socket
        self._closed = False
        self._running = False  # our query may be running on the server
        self._wire: Wire | None = None
        self._server: Server | None = None
        self._statement: int | None = None
        self._columns: list[Column] = []
        self._schema: pa.Schema | None = None

    @property
    def schema(self) -> pa.Schema:
        if self._schema is None:
            with self._busy:
                if self._schema is None:
                    self._start()
        return self._schema

    def batches(self) -> Batches:
        schema = self.schema
        try:
            rows = self._rows()
            blocks = rows.blocks()
            decode = self._decoder()
            while (batch := self._next(blocks, decode, schema)) is not None:
                yield batch
            assert rows.terminal is not None
            if rows.terminal.more_results:
                raise QueryFailed(
                    "The statement has several results; an export takes one SELECT.", code="several_results"
                )
            if rows.terminal.warnings:
                self._report(rows.terminal.warnings)
            self._leave()
        finally:
            self.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            wire = self._wire
        if wire is None:
            return
        if self._take_running():
            session.kill_query(self._dsn, self._server_id())
        wire.abort()
        # The thread that waits on the socket wakes up now; the file descriptor must stay open until it has.
        if self._busy.acquire(timeout=CLOSE_WAIT_S):
            try:
                wire.close()
            finally:
                self._busy.release()

    def _start(self) -> None:
        deadline_s = self._limits.deadline_s
        wire = Wire(self._dsn, None if deadline_s is None else time.monotonic() + deadline_s)
        with self._lock:
            self._refuse_if_closed()
            self._wire = wire
        try:
            with self._translated(wire):
                server = log_in(wire, self._dsn)
                self._server = server
                session.begin(wire, server, deadline_s)
                self._prepare(wire, server)
                definitions = self._execute(wire, server)
                from fluxport.sources.mysql import columns

                self._columns = [
                    columns.column(definition, tinyint1_bool=self._dsn.tinyint1_bool, mariadb=server.is_mariadb)
                    for definition in definitions
                ]
                self._schema = columns.schema_of(self._columns)
        except BaseException as error:
            if self._take_running():
                session.kill_query(self._dsn, self._server_id())
            elif isinstance(error, Refused) and self._server is not None:
                self._quit(wire)  # a clean QUIT, so that the server counts no aborted connection
            wire.close()
            raise

    def _prepare(self, wire: Wire, server: Server) -> None:
        if not self._dsn.prepared:
            if self._params:
                raise Refused(
                    "Parameters need prepared statements; remove prepared=false from the URL.", code="bad_params"
                )
            return
        wire.command(session.STMT_PREPARE, self._query.encode())
        try:
            payload = wire.packet()
        except ServerError as error:
            if error.number in NOT_PREPARABLE and not self._params:
                return
            raise
        self._statement, column_count, param_count = struct.unpack_from("<IHH", payload, 1)
        self._definitions(wire, server, param_count)
        packets = self._definitions(wire, server, column_count)
        if param_count != len(self._params):
            raise Refused(
                f"The query takes {param_count} parameters, and {len(self._params)} were given.", code="bad_params"
            )
        if not packets:
            raise _no_rows()
        if server.is_mariadb and need_text(_parsed(packets, server), self._query):
            self._close_statement(wire)

    def _definitions(self, wire: Wire, server: Server, count: int) -> list[bytes]:
        packets = [wire.packet() for _ in range(count)]
        if packets and not server.capabilities & DEPRECATE_EOF and wire.packet()[:1] != b"\xfe":
            raise wire.broken("sent no end of its column definitions")
        return packets

    def _execute(self, wire: Wire, server: Server) -> list[Definition]:
        """Send the query; returns its column definitions."""
        with self._lock:
            self._refuse_if_closed()
            self._running = True
        if self._statement is None:
            text = immediate(self._query, self._params) if self._params else self._query.encode()
            wire.command(session.QUERY, text)
        else:
            wire.command(session.STMT_EXECUTE, struct.pack("<IBI", self._statement, 0, 1) + self._values)
        _import_arrow()
        head = wire.packet()
        if head[:1] == b"\x00":
            raise _no_rows()
        if head[:1] == b"\xfb":
            raise QueryFailed("The statement requests a local file, which is never sent.", code="local_infile")
        count, _ = read_lenenc(head, 0)
        return _parsed(self._definitions(wire, server, count), server)

    def _rows(self) -> Rows:
        from fluxport.sources.mysql.binary import width_of
        from fluxport.sources.mysql.rows import Rows, RowShape

        assert self._wire is not None
        assert self._server is not None
        binary = self._statement is not None
        shape = RowShape(
            [c.name for c in self._columns],
            [width_of(c) if binary else 0 for c in self._columns],
            binary,
            self._limits.cell_bytes_max,
        )
        return Rows(self._wire, shape, deprecate_eof=bool(self._server.capabilities & DEPRECATE_EOF))

    def _decoder(self) -> Callable[[Block], list[pa.Array]]:
        from fluxport.sources.mysql import binary, text
        from fluxport.sources.mysql.cells import Context

        decode = text.decode if self._statement is None else binary.decode
        context = Context(self._findings, self._limits.cell_bytes_max)
        return lambda block: decode(block, self._columns, context)

    def _next(
        self, blocks: Generator[Block, None, None], decode: Callable[[Block], list[pa.Array]], schema: pa.Schema
    ) -> pa.RecordBatch | None:
        import pyarrow as pa

        assert self._wire is not None
        with self._busy, self._translated(self._wire):
            self._refuse_if_closed()
            block = next(blocks, None)
            self._refuse_if_closed()  # a killed query may also end without an error
            return None if block is None else pa.record_batch(decode(block), schema=schema)

    def _report(self, warnings: int) -> None:
        assert self._wire is not None
        assert self._server is not None
        with self._busy, self._translated(self._wire):
            self._refuse_if_closed()
            serverwarnings.report(self._wire, self._server, warnings, self._findings)

    @contextmanager
    def _translated(self, wire: Wire) -> Iterator[None]:
        """Translate errors of the protocol; after close() every error becomes Canceled."""
        from fluxport.sources.mysql.malformed import Malformed

        try:
            yield
        except (FluxportError, ServerError, Malformed, IndexError, struct.error) as error:
            if self._closed:
                raise Canceled("The export was aborted.") from None
            if isinstance(error, ServerError):
                self._take_running()  # the server has already ended the query
                raise error.translated() from None
            if not isinstance(error, FluxportError):
                raise wire.broken("sent a packet that cannot be read") from error
            raise

    def _take_running(self) -> bool:
        """Whether a query runs on the server; True makes the caller, and only it, responsible for killing it."""
        with self._lock:
            running, self._running = self._running, False
            return running

    def _server_id(self) -> int:
        assert self._server is not None
        return self._server.connection_id

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Canceled("The export was aborted.")

    def _leave(self) -> None:
        """After the terminal packet: no query is left to kill; send QUIT."""
        with self._busy:
            if self._take_running():
                assert self._wire is not None
                self._quit(self._wire)

    def _quit(self, wire: Wire) -> None:
        with suppress(FluxportError):
            self._close_statement(wire)
            wire.command(session.QUIT)

    def _close_statement(self, wire: Wire) -> None:
        statement, self._statement = self._statement, None
        if statement is not None:
            wire.command(session.STMT_CLOSE, struct.pack("<I", statement))


def _parsed(packets: list[bytes], server: Server) -> list[Definition]:
    extended = bool(server.capabilities & MARIADB_EXTENDED_METADATA)
    return [parse_definition(packet, mariadb_extended=extended) for packet in packets]


def _no_rows() -> Refused:
    return Refused("The statement returns no rows; an export takes a SELECT.", code="no_result_set")


def _import_arrow() -> None:
    """Imports that take as long as many queries, done while the server runs the query."""
    for name in ("numpy", "fluxport.compute", "fluxport.sources.mysql.binary", "fluxport.sources.mysql.text"):
        importlib.import_module(name)
