"""SQLite: one query's rows as record batches, through the standard library's driver.

Each export has its own connection: the file opened read-only, one read transaction, an authorizer that allows nothing
but reads (authorizer.py). The first rows determine the columns' types; if there are more rows, a second query in the
same snapshot first reads the storage class of every cell (columns.py), so that no later row contradicts the schema.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fluxport.errors import Canceled, FluxportError, Refused, Unavailable
from fluxport.findings import Findings
from fluxport.sources.oversize import ROW_CELLS_MAX, cell_too_large, row_too_large
from fluxport.sources.placeholders import place, without_end
from fluxport.sources.sqlite.authorizer import Authorizer
from fluxport.sources.sqlite.bounds import disk_is_low, set_bounds
from fluxport.sources.sqlite.dsn import Dsn, parse_dsn
from fluxport.sources.sqlite.errors import translated
from fluxport.sources.sqlite.params import TOKENS, bound
from fluxport.sources.timeouts import late
from fluxport.stages import Batches, Limits

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.sources.sqlite.columns import Column
    from fluxport.sources.table import SourceOptions

BATCH_ROWS = 8192
BATCH_BYTES = 1 << 20
CELL_BYTES = 8  # of any cell, besides its text
SIZED = frozenset({bytes, bytearray})
PROGRESS_STEPS = 10_000  # of the virtual machine, between two checks of the clock: a fraction of a millisecond
CLOSE_WAIT_S = 2.0
LOOK_S = 1.0  # between two checks of the disk
AGAIN_S = 0.05  # between two interrupts: one that comes between two statements is lost

Row = tuple[Any, ...]


class SqliteSource:
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
        self._dsn = parse_dsn(url, replace(Dsn(), **options.timeouts))
        self._placed = place(query, params, TOKENS)
        self._values = [bound(value, number) for number, value in enumerate(self._placed.values, 1)]
        self._may_read = options.may_read
        self._findings = findings
        self._limits = limits
        self._lock = threading.Lock()  # guards _closed and _connection
        self._busy = threading.Lock()  # held while a thread uses the connection
        self._closed = False
        self._disk_is_low = False
        self._left = threading.Event()  # set when the connection is closed
        self._deadline: float | None = None
        self._no_row_since: float | None = None  # set while a statement runs
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._pending: list[Row] = []
        self._columns: list[Column] = []
        self._rows = 0
        self._schema: pa.Schema | None = None

    @property
    def schema(self) -> pa.Schema:
        if self._schema is None:
            with self._busy:
                if self._schema is None:
                    try:
                        with self._timed(), self._translated():
                            self._start()
                    except BaseException:
                        self._leave()
                        raise
        return self._schema

    def batches(self) -> Batches:
        schema = self.schema
        try:
            while (batch := self._next(schema)) is not None:
                yield batch
        finally:
            self.close()

    def close(self) -> None:
        self._closed = True
        # The thread that waits on SQLite wakes up now; the connection must stay open until it has.
        until = time.monotonic() + CLOSE_WAIT_S
        self._interrupt()
        while not self._busy.acquire(timeout=AGAIN_S):
            self._interrupt()
            if time.monotonic() >= until:
                return
        try:
            self._leave()
        finally:
            self._busy.release()

    def _interrupt(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.interrupt()

    def _watch(self) -> None:
        """Interrupt the statement at its deadline, and when it fills the disk.

        SQLite calls the progress handler every PROGRESS_STEPS steps, but one step may copy a gigabyte.
        """
        while not self._left.wait(self._until_look()):
            self._disk_is_low = not self._late() and disk_is_low()
            while self._ended() and self._busy.locked():
                self._interrupt()
                if self._left.wait(AGAIN_S):
                    return
            if self._late():
                return  # further calls check the deadline themselves

    def _until_look(self) -> float:
        return LOOK_S if self._deadline is None else max(0.0, min(LOOK_S, self._deadline - time.monotonic()))

    def _leave(self) -> None:
        self._left.set()
        with self._lock:
            connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            connection.close()

    def _start(self) -> None:
        self._refuse_if_ended()
        if self._limits.deadline_s is not None:
            self._deadline = time.monotonic() + self._limits.deadline_s
        connection = sqlite3.connect(
            self._dsn.read_only_uri,
            uri=True,
            timeout=min(self._dsn.connect_timeout_s, self._limits.deadline_s or self._dsn.connect_timeout_s),
            isolation_level=None,
            check_same_thread=False,
        )
        with self._lock:
            self._connection = connection
        threading.Thread(target=self._watch, name="sqlite-watch", daemon=True).start()
        connection.text_factory = bytearray  # distinguishes text from blobs, and allows text that is not UTF-8
        connection.set_progress_handler(self._ended, PROGRESS_STEPS)
        set_bounds(connection, self._limits.cell_bytes_max)
        connection.execute("BEGIN")
        declared = self._declared(connection)
        connection.execute("PRAGMA query_only = ON")
        self._authorizer = Authorizer(connection, self._may_read)
        statement = self._placed.joined(["?"] * len(self._values))
        self._authorizer.admit(statement)
        self._cursor = connection.execute(statement, self._values)
        if self._cursor.description is None:
            raise Refused("The statement returns no rows; an export takes a SELECT.", code="no_result_set")
        self._pending = self._pull()
        self._decide([str(entry[0]) for entry in self._cursor.description], declared, statement)

    def _declared(self, connection: sqlite3.Connection) -> list[str]:
        """The declared types of the result's columns, from a temporary view; empty if it cannot be a view."""
        text = without_end(self._placed.joined(["NULL"] * len(self._values)))
        try:
            connection.execute(f"CREATE TEMP VIEW fluxport_result AS {text}")
            try:
                rows = connection.execute("PRAGMA temp.table_info(fluxport_result)").fetchall()
            finally:
                connection.execute("DROP VIEW temp.fluxport_result")
        except (sqlite3.Error, sqlite3.Warning) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_INTERRUPT}:
                raise  # the statement itself would only wait again
            return []
        return [row[2].decode() for row in rows]

    def _decide(self, names: list[str], declared: list[str], statement: str) -> None:
        import pyarrow as pa

        from fluxport.sources.sqlite import columns

        cells = list(zip(*self._pending, strict=True)) or [()] * len(names)
        masks = [columns.classes(column) for column in cells]
        if self._pending and not self._at_end():
            # Text can hold any later cell.
            undecided = [i for i, mask in enumerate(masks) if not mask & columns.TEXT]
            for index, mask in zip(undecided, self._probed(statement, len(names), undecided), strict=True):
                masks[index] |= mask
        if len(declared) != len(names):
            declared = [""] * len(names)
        self._columns = [columns.Column(*entry) for entry in zip(names, declared, masks, strict=True)]
        self._schema = pa.schema([column.field for column in self._columns])

    def _at_end(self) -> bool:
        """Whether the pending rows are all there are; fetches one more to check."""
        assert self._cursor is not None
        more = self._cursor.fetchmany(1)
        self._pending += more
        return not more

    def _probed(self, statement: str, count: int, indices: Sequence[int]) -> Sequence[int]:
        """The classes of all cells of the columns ``indices``; TEXT for statements that cannot be a subquery."""
        from fluxport.sources.sqlite import columns

        assert self._connection is not None
        if not indices:
            return []
        try:
            query = columns.probe(without_end(statement), count, indices)
            self._authorizer.admit(query)
            (row,) = self._connection.execute(query, self._values).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            return [columns.TEXT] * len(indices)
        return [mask or 0 for mask in row]

    def _next(self, schema: pa.Schema) -> pa.RecordBatch | None:
        import pyarrow as pa

        with self._busy, self._timed(), self._translated():
            self._refuse_if_ended()
            rows, self._pending = self._pending or self._pull(), []
            self._refuse_if_ended()
            if not rows:
                return None
            self._rows += len(rows)
            arrays = [
                column.array(cells, self._findings)
                for column, cells in zip(self._columns, zip(*rows, strict=True), strict=True)
            ]
            return pa.record_batch(arrays, schema=schema)

    def _pull(self) -> list[Row]:
        """The next rows, at most a batch; LimitExceeded names row and column of a cell that is too large."""
        assert self._cursor is not None
        rows: list[Row] = []
        size = 0
        timed = self._dsn.read_timeout_s is not None
        for row in self._cursor:
            rows.append(row)
            if timed:
                self._no_row_since = time.monotonic()
            before = size
            for cell in row:
                if type(cell) in SIZED:
                    size += len(cell)
            if size - before > self._limits.cell_bytes_max:
                self._refuse_too_large(row, size - before, self._rows + len(rows))
            size += CELL_BYTES * len(row)
            if len(rows) == BATCH_ROWS or size >= BATCH_BYTES:
                break
        return rows

    def _refuse_too_large(self, row: Row, size: int, number: int) -> None:
        assert self._cursor is not None
        limit = self._limits.cell_bytes_max
        for column, cell in enumerate(row):
            if type(cell) in SIZED and len(cell) > limit:
                raise cell_too_large(self._cursor.description[column][0], number, len(cell), limit)
        if size > limit * ROW_CELLS_MAX:
            raise row_too_large(number, limit * ROW_CELLS_MAX)

    def _ended(self) -> int:
        """Called by SQLite while a statement runs; a true result interrupts it."""
        return self._closed or self._disk_is_low or self._late() or self._silent()

    def _silent(self) -> bool:
        limit, since = self._dsn.read_timeout_s, self._no_row_since
        return limit is not None and since is not None and time.monotonic() - since >= limit

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Within it, the read timeout bounds the time without a row."""
        self._no_row_since = time.monotonic()
        try:
            yield
        finally:
            self._no_row_since = None

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _refuse_if_ended(self) -> None:
        if self._closed:
            raise Canceled("The export was aborted.")
        if self._disk_is_low:
            raise Unavailable(
                "The disk where SQLite sorts is nearly full; sort fewer rows, or free some space.", code="source_busy"
            )
        if self._late():
            raise late()
        if self._silent():
            raise Unavailable(
                f"SQLite returned no row for {self._dsn.read_timeout_s:g} s; try another query, or raise read-timeout.",
                code="source_timeout",
                again=False,
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate errors of the driver; after close() every error becomes Canceled."""
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning, MemoryError, FluxportError) as error:
            self._refuse_if_ended()
            if isinstance(error, FluxportError):
                raise
            raise translated(error) from None
