"""PostgreSQL: one query's rows as record batches, through ``COPY (query) TO STDOUT``.

Each export has its own connection with one read-only snapshot. The statement alone is prepared first: the server then
accepts exactly one statement and describes its columns. COPY streams the rows: libpq returns them one by one, and
Arrow's CSV reader parses them in blocks, every type in the text form that the server itself writes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fluxport.errors import Canceled, Refused, Unavailable
from fluxport.findings import Findings
from fluxport.sources.oversize import ROW_CELLS_MAX, cell_too_large, row_too_large
from fluxport.sources.placeholders import place, without_end
from fluxport.sources.postgres.link import Link, conninfo
from fluxport.sources.postgres.params import TOKENS, literal, rendered
from fluxport.stages import Batches, Limits

if TYPE_CHECKING:
    import pyarrow as pa
    from psycopg.pq.abc import PGresult

    from fluxport.sources.postgres.columns import Column, Decoder
    from fluxport.sources.table import SourceOptions

FIRST_BLOCK_BYTES = 64 << 10
BLOCK_BYTES = 1 << 20
BLOCK_ROWS = 64 << 10
CLOSE_WAIT_S = 4.0

# The form of values and the meaning of quotes; options of the URL cannot change these.
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


class PostgresSource:
    """See :class:`fluxport.stages.Source`."""

    def __init__(
        self,
        url: str,
        query: str,
        params: Sequence[Any] | Mapping[str, Any],
        options: SourceOptions,
        findings: Findings,
        limits: Limits,
    ) -> None:
        if "\0" in query:
            raise Refused("The query holds a zero byte.", code="bad_query")
        self._placed = place(query, params, TOKENS)
        self._literals = [literal(value, number) for number, value in enumerate(self._placed.values, 1)]
        self._findings = findings
        self._limits = limits
        self._closed = threading.Event()
        self._busy = threading.Lock()  # held while a thread uses the connection
        address, connect_s, read_s = conninfo(url, options.timeouts)
        self._link = Link(address, self._closed.is_set, connect_s, read_s)
        self._columns: list[Column] = []
        self._decoder: Decoder | None = None
        self._rows = 0
        self._at_end = False

    @property
    def schema(self) -> pa.Schema:
        if self._decoder is None:
            with self._busy:
                if self._decoder is None:
                    try:
                        self._decoder = self._start()
                    except BaseException:
                        self._link.end()
                        raise
        return self._decoder.schema

    def batches(self) -> Batches:
        _ = self.schema
        try:
            while (batch := self._next()) is not None:
                yield batch
            for state, count in self._link.warnings.items():
                self._findings.add("database_warning", count=count, origin=f"SQLSTATE {state}")
        finally:
            self.close()

    def close(self) -> None:
        self._closed.set()
        # A thread that waits for the server sees the flag within LOOK_EVERY_MS, cancels the query and disconnects.
        if self._busy.acquire(timeout=CLOSE_WAIT_S):
            try:
                self._link.end()
            finally:
                self._busy.release()

    def _start(self) -> Decoder:
        link, deadline_s = self._link, self._limits.deadline_s
        if deadline_s is not None:
            link.deadline = time.monotonic() + deadline_s
        link.connect()
        timeout_ms = 0 if deadline_s is None else max(1, round(deadline_s * 1000))
        settings = SETTINGS | {"statement_timeout": str(timeout_ms)}
        if link.conn.parameter_status(b"server_encoding") == b"SQL_ASCII":
            settings["client_encoding"] = "SQL_ASCII"  # bytes of unknown encoding, which the server could not convert
        link.run("SELECT " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in settings.items()))
        link.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        statement = without_end(self._statement())
        described = link.describe(statement)
        if not described.nfields:
            raise Refused("The statement returns no rows; an export takes a SELECT.", code="no_result_set")
        decoder = self._decoder_of(described)
        link.copy(f"COPY ({statement}\n) TO STDOUT (FORMAT csv)")
        return decoder

    def _statement(self) -> str:
        from psycopg import pq

        escape = pq.Escaping(self._link.conn).escape_literal
        return self._placed.joined([rendered(value, lambda raw: bytes(escape(raw))) for value in self._literals])

    def _decoder_of(self, described: PGresult) -> Decoder:
        from fluxport.sources.postgres import columns

        count = described.nfields
        oids = [described.ftype(index) for index in range(count)]
        modifiers = [described.fmod(index) for index in range(count)]
        pairs = ", ".join(f"({n}, {oid}, {mod})" for n, (oid, mod) in enumerate(zip(oids, modifiers, strict=True)))
        formatted = self._link.run(f"SELECT format_type(t, m) FROM (VALUES {pairs}) AS v (n, t, m) ORDER BY n")  # noqa: S608  numbers
        self._columns = [
            columns.column(
                (described.fname(index) or b"").decode(errors="replace"),
                oids[index],
                modifiers[index],
                (formatted.get_value(index, 0) or b"").decode(errors="replace"),
            )
            for index in range(count)
        ]
        return columns.Decoder(self._columns, self._findings)

    def _next(self) -> pa.RecordBatch | None:
        from fluxport.sources.postgres.columns import unreadable

        with self._busy:
            if self._closed.is_set():
                raise Canceled("The export was aborted.")
            assert self._decoder is not None
            rows = self._pull()
            if not rows:
                return None
            batch = self._decoder.batch(b"".join(rows))
            if batch.num_rows != len(rows):
                raise unreadable()
            if max(map(len, rows)) > self._limits.cell_bytes_max:
                self._check_cells(batch)
            self._rows += len(rows)
            return batch

    def _pull(self) -> list[bytes | memoryview]:
        """The next rows, at most a block; empty at the end, where the server's row count must equal ours."""
        rows: list[bytes | memoryview] = []
        size, target = 0, BLOCK_BYTES if self._rows else FIRST_BLOCK_BYTES
        # In CSV a quote is doubled, and bytea takes two digits per byte.
        row_max = self._limits.cell_bytes_max * 2 * min(len(self._columns), ROW_CELLS_MAX) + len(self._columns)
        try:
            while not self._at_end and size < target and len(rows) < BLOCK_ROWS:
                row = self._link.row(row_max)
                if row is None:
                    self._at_end = True
                    break
                size += len(row)
                if len(row) > row_max:
                    raise OverflowError
                rows.append(row)
        except OverflowError:
            raise row_too_large(self._rows + len(rows) + 1, row_max) from None
        if not rows and self._link.copied() != self._rows:
            raise Unavailable("The database sent fewer rows than it counted; try again.", code="source_lost")
        return rows

    def _check_cells(self, batch: pa.RecordBatch) -> None:
        import pyarrow as pa

        from fluxport import compute as pc

        limit = self._limits.cell_bytes_max
        for name, cells in zip(batch.schema.names, batch.columns, strict=True):
            if not (pa.types.is_string(cells.type) or pa.types.is_binary(cells.type)):
                continue
            sizes = pc.binary_length(cells)
            largest = pc.max(sizes).as_py() or 0
            if largest > limit:
                raise cell_too_large(name, self._rows + pc.index(sizes, largest).as_py() + 1, largest, limit)
