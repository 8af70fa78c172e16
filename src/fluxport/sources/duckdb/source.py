"""DuckDB: one query's rows as record batches, from a database file, files of rows, or both.

Each export has an engine of its own (engine.py). DuckDB plans the statement to tell its columns, casts those that Arrow
would not hold as they are (columns.py), and streams the rows: it stops while a few megabytes wait to be read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxport.errors import FluxportError, Refused, Unavailable
from fluxport.findings import Findings
from fluxport.sources.arrow import sliced
from fluxport.sources.base import AGAIN_S, BaseSource
from fluxport.sources.duckdb import engine
from fluxport.sources.duckdb.dsn import Dsn, parse_dsn
from fluxport.sources.duckdb.errors import is_duckdbs, translated
from fluxport.sources.duckdb.files import tables
from fluxport.sources.duckdb.params import TOKENS, without_end
from fluxport.sources.duckdb.scratch import Scratch
from fluxport.sources.errors import ROW_CELLS_MAX, row_too_large
from fluxport.sources.placeholders import place
from fluxport.stages import Limits

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.sources.table import SourceOptions

BATCH_ROWS = 4096
BATCH_BYTES = 2 << 20
CELLS_MAX = 1 << 18  # of the rows that DuckDB hands over at once
CHECK_S = 1.0  # between two checks of the time


class DuckDbSource(BaseSource):
    """See :mod:`fluxport.sources.duckdb.source`."""

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
        engine.check_installed()
        self._dsn = parse_dsn(url, replace(Dsn(), **options.timeouts))
        self._placed = place(query, params, TOKENS)
        self._files = options.files.resolve() if isinstance(options.files, Path) else options.files
        self._findings = findings
        self._freed = threading.Event()  # set when the connection is closed
        self._no_row_since: float | None = None  # set while a statement runs
        self._scratch: Scratch | None = None
        self._connection: Any = None
        self._slices: Iterator[pa.RecordBatch] = iter(())

    def open(self) -> pa.Schema:
        from fluxport.sources.duckdb.columns import Finisher, casting, columns

        self._no_row_since = time.monotonic()
        threading.Thread(target=self._watch, name="duckdb-watch", daemon=True).start()
        self._scratch = Scratch()
        connection = self._connection = engine.start(self._scratch, self._files)
        if self._dsn.path is not None:
            self._attach()
        statement = self._placed.joined(["?"] * len(self._placed.values))
        statement.encode()  # DuckDB would not say what is wrong with half of a surrogate pair
        for name, rows in tables(connection, statement, self._files, self._findings):
            connection.register(name, rows)
        engine.lock(connection, self._files)
        engine.check_reads(connection, statement)
        values = list(self._placed.values) or None
        planned = connection.sql(statement, params=values)
        found = columns(planned.columns, planned.types)
        if any(column.cast for column in found):
            planned = connection.sql(casting(without_end(statement), found), params=values)
        self._reader = planned.to_arrow_reader(max(1, min(BATCH_ROWS, CELLS_MAX // len(found))))
        self._finisher = Finisher(found, self._reader.schema, self._findings)
        self._no_row_since = None
        return self._finisher.schema

    def read(self) -> pa.RecordBatch | None:
        while (batch := next(self._slices, None)) is None:
            self._no_row_since = time.monotonic()
            more = next(self._reader, None)
            self._no_row_since = None
            if more is None:
                return None
            self._slices = sliced(self._finisher.batch(more), BATCH_BYTES)
        most = self.limits.cell_bytes_max * ROW_CELLS_MAX
        if batch.num_rows == 1 and batch.nbytes > most:  # a list, say: the limit of a cell is for text and bytes
            raise row_too_large(self.rows + 1, most)
        return batch

    def interrupt(self) -> None:
        if self._connection is not None:
            self._connection.interrupt()

    def free(self) -> None:
        self._freed.set()
        self._slices = iter(())
        self._reader = None
        if self._connection is not None:
            self._connection.close()
        if self._scratch is not None:
            self._scratch.close()

    def translate(self, error: Exception) -> None:
        if isinstance(error, UnicodeEncodeError):
            raise Refused("The query is not valid text: it has half of a surrogate pair.", code="bad_text") from None
        text = str(error)
        if isinstance(error, RuntimeError) and text == "Query interrupted":
            raise KeyboardInterrupt from None  # by a signal, whose own exception DuckDB replaces
        if isinstance(error, engine.module().Error) or (not isinstance(error, FluxportError) and is_duckdbs(text)):
            raise translated(text) from None
        if isinstance(error, OSError):
            raise Unavailable(
                "The disk failed where DuckDB reads, or where it has its temporary files; try again.",
                code="source_busy",
                detail=text,
            ) from error

    def abort_reason(self) -> FluxportError | None:
        if (reason := super().abort_reason()) is not None:
            return reason
        limit, since = self._dsn.read_timeout_s, self._no_row_since
        if limit is not None and since is not None and time.monotonic() - since >= limit:
            return Unavailable(
                f"DuckDB returned no row for {limit:g} s; try another query, or raise read-timeout.",
                code="source_timeout",
                again=False,
            )
        return None

    def _attach(self) -> None:
        """Open the database file, once no other process writes to it."""
        assert self._dsn.path is not None
        until = time.monotonic() + self._dsn.connect_timeout_s
        while True:
            try:
                engine.attach(self._connection, self._dsn.path)
            except engine.module().IOException as error:
                locked = translated(str(error))
                if not isinstance(locked, Unavailable) or time.monotonic() >= until:
                    raise
                self.check()
                self._freed.wait(AGAIN_S)
            else:
                return

    def _watch(self) -> None:
        """Interrupt the statement at its deadline, and when it is silent for too long."""
        while not self._freed.wait(self._next_check_s()):
            if self.abort_reason() is not None:
                self.wake()

    def _next_check_s(self) -> float:
        left_s = CHECK_S if self.deadline is None else self.deadline - time.monotonic()
        return max(AGAIN_S, min(CHECK_S, left_s))
