"""PostgreSQL: one query's rows as record batches, through ``COPY (query) TO STDOUT (FORMAT binary)``.

Each export has its own connection with one read-only snapshot. The statement alone is prepared first: the server then
accepts exactly one statement and describes its columns. libpq connects, encrypts and authenticates; COPY's rows are
then read from the socket itself, unless the connection is encrypted, and decoded a column of a block at a time.
::

    libpq or stream.py: messages -> rows.py: blocks of whole rows -> places.py: cells -> binary.py, numeric.py: arrays
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.pgtokens import TOKENS
from fluxport.sources.base import BaseSource
from fluxport.sources.errors import ROW_CELLS_MAX, no_result_set
from fluxport.sources.placeholders import place, without_end
from fluxport.sources.postgres.libpq import LibpqError
from fluxport.sources.postgres.link import Link, conninfo
from fluxport.sources.postgres.params import literal, rendered
from fluxport.sources.wire.malformed import Malformed
from fluxport.stages import Limits

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.sources.postgres.columns import Column
    from fluxport.sources.postgres.libpq import Result
    from fluxport.sources.table import SourceOptions
    from fluxport.sources.wire.blocks import Block

# The form of values and the meaning of quotes; options of the URL cannot change these. They are set for the transaction
# only, so that a pooler may give each transaction another session.
SETTINGS = {
    "standard_conforming_strings": "on",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "xmloption": "content",
    "idle_in_transaction_session_timeout": "0",
}


class PostgresSource(BaseSource):
    """Rows of COPY."""

    close_wait_s = 4.0
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
        if "\0" in query:
            raise Refused("The query holds a zero byte.", code="bad_query")
        self._placed = place(query, params, TOKENS)
        self._literals = [literal(value, number) for number, value in enumerate(self._placed.values, 1)]
        self._findings = findings
        self._decimal_text = options.decimal_text
        given, connect_s, read_s = conninfo(url, options.timeouts)
        self._link = Link(given, self.check, connect_s, read_s)
        self._undecoded: deque[Block] = deque()

    def open(self) -> pa.Schema:
        link = self._link
        link.connect()
        link.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        link.run("SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in self._settings()))
        statement = without_end(self._statement())
        described = link.describe(statement)
        if not described.columns:
            raise no_result_set()
        columns = self._described(described)

        import pyarrow as pa

        from fluxport.sources.postgres.places import Context

        self._context = Context(columns)
        self._start(f"COPY ({sent(statement, columns)}\n) TO STDOUT (FORMAT binary)", len(columns))
        return pa.schema([column.field for column in columns])

    def _settings(self) -> list[tuple[str, str]]:
        deadline_s = self.limits.deadline_s
        timeout_ms = 0 if deadline_s is None else max(1, round(deadline_s * 1000))
        settings = SETTINGS | {"statement_timeout": str(timeout_ms)}
        if self._link.conn.parameter_status(b"server_encoding") == b"SQL_ASCII":
            settings["client_encoding"] = "SQL_ASCII"  # bytes of unknown encoding, which the server could not convert
        return list(settings.items())

    def _start(self, copy: str, columns: int) -> None:
        from fluxport.sources.postgres.rows import RowShape, SocketRows, libpq_blocks

        row_max = self.limits.cell_bytes_max * min(columns, ROW_CELLS_MAX) + 4 * columns + 64
        shape = RowShape(columns, row_max)
        stream = self._link.stream()
        if stream is None:
            self._link.copy(copy)
            self._blocks = libpq_blocks(self._link, shape)
            return
        stream.execute(copy.encode())
        rows = SocketRows(self._link, stream, shape)
        rows.begin()
        self._blocks = rows.blocks()

    def read(self) -> pa.RecordBatch | None:
        import pyarrow as pa

        from fluxport.sources.postgres.binary import decode
        from fluxport.sources.postgres.numeric import TooMuchText

        while True:
            block = self._undecoded.popleft() if self._undecoded else next(self._blocks, None)
            if block is None:
                for state, count in self._link.warnings.items():
                    self._findings.add("database_warning", count=count, origin=f"SQLSTATE {state}")
                return None
            try:
                return pa.record_batch(decode(block, self._context, self._findings), schema=self.schema)
            except TooMuchText:
                self._undecoded.extendleft(reversed(block.halves()))

    def free(self) -> None:
        self._link.end()

    def translate(self, error: Exception) -> None:
        if isinstance(error, Malformed | IndexError):
            from fluxport.sources.postgres.rows import broken

            raise broken() from error
        if isinstance(error, LibpqError):
            raise self._link.lost(str(error)) from error

    def _statement(self) -> str:
        quoted = self._link.conn.quoted
        return self._placed.joined([rendered(value, quoted) for value in self._literals])

    def _described(self, described: Result) -> list[Column]:
        from fluxport.sources.postgres.columns import column

        types = [described.type(index) for index in range(described.columns)]
        values = ", ".join(f"({number}, {oid}, {modifier})" for number, (oid, modifier) in enumerate(types))
        wanted = "format_type(t, m), (SELECT typsend::oid FROM pg_catalog.pg_type WHERE oid = t)"
        known = self._link.run(f"SELECT {wanted} FROM (VALUES {values}) AS v (n, t, m) ORDER BY n")  # noqa: S608  numbers
        return [
            column(
                described.name(index),
                oid,
                modifier,
                known.text(index, 0),
                int(known.text(index, 1) or "0"),
                decimal_text=self._decimal_text,
            )
            for index, (oid, modifier) in enumerate(types)
        ]


def sent(statement: str, columns: Sequence[Column]) -> str:
    """``statement``, or a query around it for columns that are not sent as they are; the server does not reorder the
    rows of a query that only computes columns of another. It would evaluate an expression of the statement wherever the
    outer query repeats its name, but that it never moves expressions out of a query with OFFSET."""
    if all(column.sent is None for column in columns):
        return statement
    names = [f"c{index}" for index in range(len(columns))]
    values = ", ".join((c.sent or "{}").format(name) for c, name in zip(columns, names, strict=True))
    inner = f"SELECT * FROM ({statement}\n) AS s OFFSET 0"  # noqa: S608  the statement runs by itself too
    return f"SELECT {values} FROM ({inner}) AS x ({', '.join(names)})"  # noqa: S608  as above
