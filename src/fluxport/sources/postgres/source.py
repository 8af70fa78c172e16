"""PostgreSQL: one query's rows as record batches, through ``COPY (query) TO STDOUT``.

Each export has its own connection with one read-only snapshot. The statement alone is prepared first: the server then
accepts exactly one statement and describes its columns. COPY streams the rows: libpq returns them one by one, and
Arrow's CSV reader parses them in blocks. Each value arrives in the text form that the server itself writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fluxport.errors import Refused, Unavailable
from fluxport.findings import Findings
from fluxport.pgtokens import TOKENS
from fluxport.sources.base import BaseSource
from fluxport.sources.errors import ROW_CELLS_MAX, row_too_large
from fluxport.sources.placeholders import place, without_end
from fluxport.sources.postgres.link import Link, conninfo
from fluxport.sources.postgres.params import literal, rendered
from fluxport.stages import Limits

if TYPE_CHECKING:
    import pyarrow as pa
    from psycopg.pq.abc import PGresult

    from fluxport.sources.postgres.columns import Column, Decoder
    from fluxport.sources.table import SourceOptions

FIRST_BLOCK_BYTES = 64 << 10
BLOCK_BYTES, COLUMN_BYTES, WIDE_BLOCK_BYTES = 1 << 20, 3 << 10, 3 << 20  # more for many columns: hundreds of rows
BLOCK_ROWS = 64 << 10

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


class PostgresSource(BaseSource):
    """Rows of COPY."""

    close_wait_s = 4.0

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
        address, connect_s, read_s = conninfo(url, options.timeouts)
        self._link = Link(address, self.check, connect_s, read_s)
        self._columns: list[Column] = []
        self._at_end = False

    def open(self) -> pa.Schema:
        link, deadline_s = self._link, self.limits.deadline_s
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
        self._decoder = self._decoder_of(described)
        link.copy(f"COPY ({statement}\n) TO STDOUT (FORMAT csv)")
        return self._decoder.schema

    def read(self) -> pa.RecordBatch | None:
        from fluxport.sources.postgres.columns import unreadable

        rows = self._pull()
        if not rows:
            for state, count in self._link.warnings.items():
                self._findings.add("database_warning", count=count, origin=f"SQLSTATE {state}")
            return None
        batch = self._decoder.batch(b"".join(rows))
        if batch.num_rows != len(rows):
            raise unreadable()
        return batch

    def free(self) -> None:
        self._link.end()

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

    def _pull(self) -> list[bytes | memoryview]:
        """The next rows, at most a block; empty at the end, where the server's row count must equal ours."""
        rows: list[bytes | memoryview] = []
        block = max(BLOCK_BYTES, min(len(self._columns) * COLUMN_BYTES, WIDE_BLOCK_BYTES))
        size, target = 0, block if self.rows else FIRST_BLOCK_BYTES
        # In CSV a quote is doubled, and bytea takes two digits per byte.
        row_max = self.limits.cell_bytes_max * 2 * min(len(self._columns), ROW_CELLS_MAX) + len(self._columns)
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
            raise row_too_large(self.rows + len(rows) + 1, row_max) from None
        if not rows and self._link.copied() != self.rows:
            raise Unavailable("The database sent fewer rows than it counted; try again.", code="source_lost")
        return rows
