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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fluxport.errors import FluxportError, QueryFailed, Refused
from fluxport.findings import Findings
from fluxport.sources.base import BaseSource
from fluxport.sources.errors import no_result_set
from fluxport.sources.mysql import serverwarnings, session
from fluxport.sources.mysql.definitions import Definition, need_text, parse_definition
from fluxport.sources.mysql.dsn import Dsn, parse_dsn
from fluxport.sources.mysql.handshake import DEPRECATE_EOF, MARIADB_EXTENDED_METADATA, Server, log_in
from fluxport.sources.mysql.params import encoded, immediate, positional
from fluxport.sources.mysql.servererrors import ServerError
from fluxport.sources.mysql.wire import Wire, read_lenenc
from fluxport.stages import Limits

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.sources.mysql.columns import Column
    from fluxport.sources.mysql.rows import Rows
    from fluxport.sources.table import SourceOptions
    from fluxport.sources.wire.blocks import Block

# A statement that cannot be prepared (some SHOW), a server without prepared statements, or with too many of them.
NOT_PREPARABLE = frozenset({1295, 1235, 1047, 1461})


class MySqlSource(BaseSource):
    """Rows over the protocol of MySQL and MariaDB."""

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
        super().__init__(limits)
        self._dsn = parse_dsn(
            url,
            replace(Dsn(tinyint1_bool=options.tinyint1_bool, shown=options.shown), **options.timeouts),
        )
        self._query, self._params = positional(query, params)
        self._values = encoded(self._params)
        self._findings = findings
        self._decimal_text = options.decimal_text
        self._columns_only = options.columns_only
        self._wire: Wire | None = None
        self._server: Server | None = None  # once logged in
        self._running = False  # our query may be running on the server
        self._statement: int | None = None
        self._prepared: tuple[list[bytes], list[Definition]] = [], []  # as the server described the statement

    def open(self) -> pa.Schema:
        wire = self._wire = Wire(self._dsn, self.deadline)
        self._server = None
        server = self._server = log_in(wire, self._dsn)
        session.begin(wire, server, self.limits, columns_only=self._columns_only)
        self._prepare(wire, server)
        definitions = self._execute(wire, server)
        from fluxport.sources.mysql import columns

        described = [
            columns.column(
                definition,
                tinyint1_bool=self._dsn.tinyint1_bool,
                mariadb=server.is_mariadb,
                decimal_text=self._decimal_text,
            )
            for definition in definitions
        ]
        self._decode = self._decoder(described)
        self._result = self._rows(wire, server, described)
        self._blocks = self._result.blocks()
        return columns.schema_of(described)

    def read(self) -> pa.RecordBatch | None:
        import pyarrow as pa

        block = next(self._blocks, None)
        if block is None:
            self._end()
            return None
        return pa.record_batch(self._decode(block), schema=self.schema)

    def _end(self) -> None:
        """The end of the rows: the server's warnings are findings."""
        terminal = self._result.terminal
        assert terminal is not None
        if terminal.more_results:
            raise QueryFailed("The statement has several results; an export takes one SELECT.", code="several_results")
        if terminal.warnings:
            assert self._wire is not None
            assert self._server is not None
            serverwarnings.report(self._wire, self._server, terminal.warnings, self._findings)
        self._running = False

    def interrupt(self) -> None:
        self._kill()
        if self._wire is not None:
            self._wire.abort()

    def free(self) -> None:
        if self._wire is None:
            return
        if self._running:
            self._kill()
        elif self._server is not None:
            with suppress(FluxportError):  # a clean QUIT, so that the server counts no aborted connection
                self._close_statement(self._wire)
                self._wire.command(session.QUIT)
        self._wire.close()

    def translate(self, error: Exception) -> None:
        from fluxport.sources.wire.malformed import Malformed

        if isinstance(error, ServerError):
            self._running = False  # the server has already ended the query
            raise error.translated() from None
        if isinstance(error, Malformed | IndexError | struct.error):
            assert self._wire is not None
            raise self._wire.broken("sent a packet that cannot be read") from error

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
            raise no_result_set()
        self._prepared = packets, _parsed(packets, server)
        if server.is_mariadb and need_text(self._prepared[1], self._query):
            self._close_statement(wire)

    def _definitions(self, wire: Wire, server: Server, count: int) -> list[bytes]:
        packets = [wire.packet() for _ in range(count)]
        if packets and not server.capabilities & DEPRECATE_EOF and wire.packet()[:1] != b"\xfe":
            raise wire.broken("sent no end of its column definitions")
        return packets

    def _execute(self, wire: Wire, server: Server) -> list[Definition]:
        """Send the query; returns its column definitions."""
        self.check()
        self._running = True
        if self._statement is None:
            text = immediate(self._query, self._params) if self._params else self._query.encode()
            wire.command(session.QUERY, text)
        else:
            wire.command(session.STMT_EXECUTE, struct.pack("<IBI", self._statement, 0, 1) + self._values)
        _import_arrow()
        head = wire.packet()
        if head[:1] == b"\x00":
            raise no_result_set()
        if head[:1] == b"\xfb":
            raise QueryFailed("The statement requests a local file, which is never sent.", code="local_infile")
        count, _ = read_lenenc(head, 0)
        packets = self._definitions(wire, server, count)
        prepared, definitions = self._prepared
        return definitions if packets == prepared else _parsed(packets, server)

    def _rows(self, wire: Wire, server: Server, described: list[Column]) -> Rows:
        from fluxport.sources.mysql.binary import width_of
        from fluxport.sources.mysql.rows import Rows, RowShape

        binary = self._statement is not None
        shape = RowShape(
            [c.name for c in described],
            [width_of(c) if binary else 0 for c in described],
            binary,
            self.limits.cell_bytes_max,
        )
        return Rows(wire, shape, deprecate_eof=bool(server.capabilities & DEPRECATE_EOF))

    def _decoder(self, described: list[Column]) -> Callable[[Block], list[pa.Array]]:
        from fluxport.sources.mysql import binary, text
        from fluxport.sources.mysql.places import Context

        decode = text.decode if self._statement is None else binary.decode
        context = Context(described, self._findings, self.limits.cell_bytes_max)
        return lambda block: decode(block, context)

    def _kill(self) -> None:
        running, self._running = self._running, False
        if running:
            assert self._server is not None
            session.kill_query(self._dsn, self._server.connection_id)

    def _close_statement(self, wire: Wire) -> None:
        statement, self._statement = self._statement, None
        if statement is not None:
            wire.command(session.STMT_CLOSE, struct.pack("<I", statement))


def _parsed(packets: list[bytes], server: Server) -> list[Definition]:
    extended = bool(server.capabilities & MARIADB_EXTENDED_METADATA)
    return [parse_definition(packet, mariadb_extended=extended) for packet in packets]


def _import_arrow() -> None:
    """Imports that take as long as many queries, done while the server runs the query."""
    for name in ("numpy", "fluxport.compute", "fluxport.sources.mysql.binary", "fluxport.sources.mysql.text"):
        importlib.import_module(name)
