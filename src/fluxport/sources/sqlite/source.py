"""SQLite: one query's rows as record batches, through the standard library's driver.

Each export has its own connection: the file opened read-only, one read transaction, an authorizer that allows nothing
but reads (authorizer.py). The first rows determine the columns' types; if there are more rows, a second query in the
same snapshot first reads the storage class of every cell (columns.py), so that no later row contradicts the schema.
Many rows of a plain statement are then read by another driver, where it is installed (bulk.py).
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fluxport.errors import FluxportError, QueryFailed, Unavailable
from fluxport.findings import Findings
from fluxport.sources.base import AGAIN_S, BaseSource
from fluxport.sources.errors import ROW_CELLS_MAX, cell_too_large, no_result_set, row_too_large
from fluxport.sources.placeholders import place, without_end
from fluxport.sources.sqlite.authorizer import Authorizer
from fluxport.sources.sqlite.bounds import disk_is_low, set_bounds
from fluxport.sources.sqlite.dsn import Dsn, parse_dsn
from fluxport.sources.sqlite.errors import translated
from fluxport.sources.sqlite.params import TOKENS, bound
from fluxport.sources.sqlite.unstoppable import Calls
from fluxport.stages import Limits

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.sources.sqlite.bulk import Bulk
    from fluxport.sources.sqlite.columns import Column
    from fluxport.sources.table import SourceOptions

BATCH_ROWS = 8192
BATCH_BYTES = 1 << 20
CELL_BYTES = 8  # of any cell, besides its text
SIZED = frozenset({bytes, bytearray})
PROGRESS_STEPS = 10_000  # of the virtual machine, between two checks of the clock: a fraction of a millisecond
DISK_CHECK_S = 1.0  # between two checks of the disk

Row = tuple[Any, ...]


@cache
def bulk_is_installed() -> bool:
    return find_spec("adbc_driver_sqlite") is not None


class SqliteSource(BaseSource):
    """Rows of the standard library's driver."""

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
        self._dsn = parse_dsn(url, replace(Dsn(), **options.timeouts))
        self._placed = place(query, params, TOKENS)
        self._values = [bound(value, number) for number, value in enumerate(self._placed.values, 1)]
        self._may_read = options.may_read
        self._own_process = options.own_process
        self._findings = findings
        self._disk_is_low = False
        self._freed = threading.Event()  # set when the connection is closed
        self._no_row_since: float | None = None  # set while a statement runs
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._pending: list[Row] = []
        self._bulk: Bulk | None = None
        self._calls = Calls()  # of the other driver, which has no interrupt

    def open(self) -> pa.Schema:
        self._no_row_since = time.monotonic()
        threading.Thread(target=self._watch, name="sqlite-watch", daemon=True).start()
        statement = self._placed.joined(["?"] * len(self._values))
        declared = self._start(statement)
        if self._is_for_bulk(statement):
            self._open_in_bulk(declared, statement)
            if self._bulk is None:
                declared = self._start(statement)
        schema = self._bulk.schema if self._bulk is not None else self._decide(declared, statement)
        self._no_row_since = None
        return schema

    def _start(self, statement: str) -> list[str]:
        """Run ``statement`` until its first rows; returns the declared types of its columns."""
        if self._dsn.path.is_dir():
            raise QueryFailed("The path of the SQLite file is a folder; name a file.", code="unknown_database")
        connection = self._connection = sqlite3.connect(
            self._dsn.read_only_uri,
            uri=True,
            timeout=min(self._dsn.connect_timeout_s, self.limits.deadline_s or self._dsn.connect_timeout_s),
            isolation_level=None,
            check_same_thread=False,
        )
        connection.text_factory = bytearray  # distinguishes text from blobs, and allows text that is not UTF-8
        connection.set_progress_handler(self._ended, PROGRESS_STEPS)
        set_bounds(connection, self.limits.cell_bytes_max)
        connection.execute("BEGIN")
        declared = self._declared(connection)
        connection.execute("PRAGMA query_only = ON")
        self._authorizer = Authorizer(connection, self._may_read)
        self._authorizer.admit(statement)
        self._cursor = connection.execute(statement, self._values)
        if self._cursor.description is None:
            raise no_result_set()
        self._pending = self._pull()
        return declared

    def read(self) -> pa.RecordBatch | None:
        if self._bulk is not None:
            return self._calls.call(partial(self._bulk.read, self._findings))
        self._no_row_since = time.monotonic()
        rows, self._pending = self._pending or self._pull(), []
        self.check()
        self._no_row_since = None
        if not rows:
            return None
        return self._decoder.batch(rows, self._findings)

    @property
    def is_bulk(self) -> bool:
        """Whether the rows come from the other driver."""
        return self._bulk is not None

    def interrupt(self) -> None:
        self._calls.leave()
        if self._connection is not None:
            self._connection.interrupt()

    def free(self) -> None:
        self._freed.set()
        self._calls.finally_(self._close_bulk)
        self._disconnect()

    def _close_bulk(self) -> None:
        if self._bulk is not None:
            self._bulk.close()

    def _disconnect(self) -> None:
        self._cursor = None  # an unfinished statement holds the file open after close()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def translate(self, error: Exception) -> None:
        if isinstance(error, sqlite3.Error | sqlite3.Warning | MemoryError):
            raise translated(error) from None

    def abort_reason(self) -> FluxportError | None:
        if (reason := super().abort_reason()) is not None:
            return reason
        if self._disk_is_low:
            return Unavailable(
                "The disk where SQLite sorts is nearly full; sort fewer rows, or free some space.", code="source_busy"
            )
        if self._silent():
            return Unavailable(
                f"SQLite returned no row for {self._dsn.read_timeout_s:g} s; try another query, or raise read-timeout.",
                code="source_timeout",
                again=False,
            )
        return None

    def _watch(self) -> None:
        """Interrupt the statement at its deadline, and when it fills the disk.

        SQLite calls the progress handler every PROGRESS_STEPS steps, but one step may copy a gigabyte.
        """
        while not self._freed.wait(self._next_check_s()):
            self._disk_is_low = disk_is_low()
            while self._ended() and self.wake():
                if self._freed.wait(AGAIN_S):
                    return
            if not self._next_check_s():
                return  # further calls check the deadline themselves

    def _next_check_s(self) -> float:
        if self.deadline is None:
            return DISK_CHECK_S
        return max(0.0, min(DISK_CHECK_S, self.deadline - time.monotonic()))

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

    def _is_for_bulk(self, statement: str) -> bool:
        """Whether the other driver may read the rows: only then is its module imported."""
        if not self._own_process or self._dsn.read_timeout_s is not None or not bulk_is_installed() or self._at_end():
            return False
        from fluxport.sources.sqlite import bulk

        assert self._connection is not None
        plan = self._connection.execute(f"EXPLAIN QUERY PLAN {statement}", self._values)
        return bulk.is_plain(bytes(row[3]).decode() for row in plan) and not self._authorizer.functions & bulk.CHANGING

    def _open_in_bulk(self, declared: list[str], statement: str) -> None:
        """Set ``_bulk``, if the other driver reads the rows."""
        from fluxport.sources.sqlite import bulk

        columns, rows = self._columns(declared), self._pending
        self._pending = []
        self._disconnect()

        def work() -> None:
            self._bulk = bulk.opened(self._dsn, statement, self._values, columns, rows)

        self._calls.call(work)

    def _columns(self, declared: list[str]) -> list[Column]:
        """The columns, with the classes of the pending rows."""
        from fluxport.sources.sqlite import columns

        assert self._cursor is not None
        names = [str(entry[0]) for entry in self._cursor.description]
        cells = list(zip(*self._pending, strict=True)) or [()] * len(names)
        if len(declared) != len(names):
            declared = [""] * len(names)
        masks = [columns.classes(column) for column in cells]
        return [columns.Column(*entry) for entry in zip(names, declared, masks, strict=True)]

    def _decide(self, declared: list[str], statement: str) -> pa.Schema:
        from fluxport.sources.sqlite import columns

        found = self._columns(declared)
        if self._pending and not self._at_end():
            # Text can hold any later cell.
            undecided = [i for i, column in enumerate(found) if not column.mask & columns.TEXT]
            for index, mask in zip(undecided, self._probed(statement, len(found), undecided), strict=True):
                found[index] = replace(found[index], mask=found[index].mask | mask)
        self._decoder = columns.Decoder(found)
        return self._decoder.schema

    def _at_end(self) -> bool:
        """Whether the pending rows are the last ones; fetches one more to find out."""
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
            if size - before > self.limits.cell_bytes_max:
                self._refuse_too_large(row, size - before, self.rows + len(rows))
            size += CELL_BYTES * len(row)
            if len(rows) == BATCH_ROWS or size >= BATCH_BYTES:
                break
        return rows

    def _refuse_too_large(self, row: Row, size: int, number: int) -> None:
        assert self._cursor is not None
        limit = self.limits.cell_bytes_max
        for column, cell in enumerate(row):
            if type(cell) in SIZED and len(cell) > limit:
                raise cell_too_large(self._cursor.description[column][0], number, len(cell), limit)
        if size > limit * ROW_CELLS_MAX:
            raise row_too_large(number, limit * ROW_CELLS_MAX)

    def _ended(self) -> bool:
        """Called by SQLite while a statement runs; a true result interrupts it."""
        return self.abort_reason() is not None

    def _silent(self) -> bool:
        limit, since = self._dsn.read_timeout_s, self._no_row_since
        return limit is not None and since is not None and time.monotonic() - since >= limit
