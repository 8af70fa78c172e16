"""Many rows of a plain statement, as Arrow arrays that ADBC's driver for SQLite fills in C: several times as fast as
Python does, and beside the encoder, as it does not hold the interpreter.

The driver brings an SQLite library of its own, has no authorizer and no interrupt, takes a column's type from its first
rows, and then converts or refuses cells of another type. So it reads only
::

    a statement   that the authorizer has admitted, and that SQLite runs as scans and searches of tables: nothing is
                  sorted, so rows come steadily
    a file        that no other SQLite library of this process has open: each would release the other's locks
    cells         of classes and lengths that a query in the same transaction finds first, so that no cell changes,
                  and no batch is large

The standard library's driver reads everything else (source.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fluxport import compute as pc
from fluxport.findings import Findings
from fluxport.sources.placeholders import without_end
from fluxport.sources.sqlite.bounds import HEAP_BYTES
from fluxport.sources.sqlite.columns import (
    BLOB,
    EXACT_MAX,
    INTEGER,
    LARGE_INTEGER,
    REAL,
    TEXT,
    Column,
    numbered,
    probe,
)
from fluxport.sources.sqlite.errors import of_driver

if TYPE_CHECKING:
    from fluxport.sources.sqlite.dsn import Dsn

BATCH_ROWS = 8192
BATCH_BYTES = 4 << 20  # which no batch exceeds; most have a tenth of it
NUMBER_BYTES = 8
LONGER_TIMES, LONGER_BYTES = 8, 64  # how much longer than the longest of the first rows a cell may be
UNSEEN_BYTES = 1024  # of a cell in a column without values in the first rows

# Functions whose second run may find cells of other classes than the first.
CHANGING = frozenset({"random", "randomblob"})
_PLAIN = re.compile(r"(SCAN|SEARCH) (?!CONSTANT ROW|\().*", re.DOTALL)
_NOT_PLAIN = re.compile(r" VIRTUAL TABLE | USING AUTOMATIC ")

_WHOLE = (INTEGER, LARGE_INTEGER, INTEGER | LARGE_INTEGER)
_EMPTY = {REAL: "0.0", REAL | INTEGER: "0.0", TEXT: "''", BLOB: "x''"}  # in place of NULL
# Whether a cell may not be of its column's classes, or is longer than {1}. The class of most cells alone decides.
_NOT = "typeof({{0}}) <> '{}' AND {{0}} IS NOT NULL"
_OTHER = {
    **dict.fromkeys(_WHOLE, _NOT.format("integer")),
    REAL: _NOT.format("real"),
    REAL | INTEGER: f"{{0}} NOT BETWEEN {-EXACT_MAX} AND {EXACT_MAX}",  # every text and blob comes after every number
    TEXT: _NOT.format("text") + " OR octet_length({0}) > {1}",
    BLOB: _NOT.format("blob") + " OR octet_length({0}) > {1}",
}


def is_plain(plan: Iterable[str]) -> bool:
    """Whether the details of an EXPLAIN QUERY PLAN are only scans and searches of tables."""
    return all(_PLAIN.fullmatch(detail) and not _NOT_PLAIN.search(detail) for detail in plan)


def opened(
    dsn: Dsn, statement: str, values: Sequence[Any], found: Sequence[Column], rows: Sequence[Sequence[Any]]
) -> Bulk | None:
    """The rows of ``statement``, whose columns were ``found`` in its first ``rows``; None if the driver cannot read
    them, for whatever reason: the other driver tells of an error."""
    from adbc_driver_manager import Error

    statement = without_end(statement)
    lengths = [max((len(c) for c in cells if isinstance(c, _SIZED)), default=0) for cells in zip(*rows, strict=True)]
    bytes_max = [longest * LONGER_TIMES + LONGER_BYTES if longest else UNSEEN_BYTES for longest in lengths]
    with ExitStack() as opening:
        try:
            file = opening.enter_context(closing(_File(dsn, values)))
            agreed = _agreed(file, statement, found, bytes_max)
            if agreed is None:
                return None
            sizes = (
                most if column.mask in (TEXT, BLOB) else NUMBER_BYTES
                for column, most in zip(agreed, bytes_max, strict=True)
            )
            count = max(1, min(BATCH_ROWS, BATCH_BYTES // sum(sizes)))
            filled = [any(row[index] is not None for row in rows[:count]) for index in range(len(agreed))]
            bulk = Bulk(file, statement, agreed, filled, count)
        except (Error, OSError, pa.ArrowException):
            return None
        if not bulk.is_right:
            return None
        opening.pop_all()
        return bulk


_SIZED = (bytes, bytearray)


class Bulk:
    """The rows of a statement in one read transaction, until ``close``."""

    def __init__(
        self, file: _File, statement: str, columns: Sequence[Column], filled: Sequence[bool], batch_rows: int
    ) -> None:
        """``filled``: whether a column has a value among the rows by which the driver decides its type."""
        self.columns = columns
        self.schema = pa.schema([column.field for column in columns])
        self._file = file
        self._unseen = [i for i, c in enumerate(columns) if not filled[i] and c.mask in _EMPTY]
        cells = [f"CAST(c{i} AS REAL)" if c.mask == REAL | INTEGER else f"c{i}" for i, c in enumerate(columns)]
        for index in self._unseen:
            cells[index] = f"ifnull({cells[index]}, {_EMPTY[columns[index].mask]})"
        cells += [f"c{index} IS NULL" for index in self._unseen]
        text = statement
        if cells != [f"c{index}" for index in range(len(columns))]:
            text = numbered(statement, len(columns), cells)
        plan = file.plan(text)
        self._reader = file.read(text, batch_rows)
        types = self._reader.schema.types[: len(columns)]
        self.is_right = (
            is_plain(plan)
            and (text == statement or plan == file.plan(statement))  # else the rows may have another order
            and all(t == f.type or not c.mask for t, f, c in zip(types, self.schema, columns, strict=True))
        )

    def read(self, findings: Findings) -> pa.RecordBatch | None:
        """The next batch, of at most ``BATCH_BYTES``."""
        try:
            batch = self._reader.read_next_batch()
        except StopIteration:
            return None
        except (OSError, pa.ArrowException) as error:
            raise of_driver(str(error)) from None
        arrays = batch.columns
        for index, absent in zip(self._unseen, arrays[len(self.columns) :], strict=True):
            arrays[index] = pc.if_else(pc.equal(absent, 1), pa.scalar(None, arrays[index].type), arrays[index])
        made = [_right(column, array, findings) for column, array in zip(self.columns, arrays, strict=False)]
        return pa.record_batch(made, schema=self.schema)

    def close(self) -> None:
        self._file.close()


def _right(column: Column, array: pa.Array, findings: Findings) -> pa.Array:
    """``array`` in the type of ``column``, without bytes that are not UTF-8."""
    if not column.mask:
        return pa.nulls(len(array), column.arrow)
    if column.mask == TEXT:
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:
            cells = array.cast(pa.binary()).to_pylist()
            return column.array([None if cell is None else bytearray(cell) for cell in cells], findings)
    return array


def _agreed(file: _File, statement: str, found: Sequence[Column], bytes_max: Sequence[int]) -> Sequence[Column] | None:
    """The columns with the classes of all their cells; None if they are mixed otherwise than integers among reals, or
    if a cell is longer than ``bytes_max``."""
    if all(column.mask in _OTHER for column in found) and not _differ(file, statement, found, bytes_max):
        return found
    counted = [index for index, column in enumerate(found) if column.mask != TEXT]
    [masks] = file.rows(probe(statement, len(found), counted)) if counted else [[]]
    found = list(found)
    for index, mask in zip(counted, masks, strict=True):
        found[index] = replace(found[index], mask=mask or 0)
    if any(column.mask and column.mask not in _OTHER for column in found):
        return None
    sized = [column if column.mask in (TEXT, BLOB) else replace(column, mask=0) for column in found]
    return None if _differ(file, statement, sized, bytes_max) else found


def _differ(file: _File, statement: str, found: Sequence[Column], bytes_max: Sequence[int]) -> bool:
    """Whether there are cells that may not be of the classes ``found``, or that are longer than ``bytes_max``."""
    others = [_OTHER[c.mask].format(f"c{i}", bytes_max[i]) for i, c in enumerate(found) if c.mask]
    if not others:
        return False
    return bool(file.rows(f"{numbered(statement, len(found), ['1'])} WHERE {_any(others)} LIMIT 1"))


def _any(terms: Sequence[str]) -> str:
    """Whether one of ``terms`` is true, as a tree of few levels: SQLite limits their number."""
    if len(terms) == 1:
        return f"({terms[0]})"
    half = len(terms) // 2
    return f"({_any(terms[:half])} OR {_any(terms[half:])})"


class _File:
    """The file in one read transaction of the driver."""

    def __init__(self, dsn: Dsn, values: Sequence[Any]) -> None:
        import adbc_driver_manager
        import adbc_driver_sqlite

        self._bound = [pa.array([value]) for value in values]
        self._opened = ExitStack()  # closed from the last to the first: the driver crashes otherwise
        try:
            database = self._opened.enter_context(adbc_driver_sqlite.connect(dsn.read_only_uri))
            self._connection = self._opened.enter_context(adbc_driver_manager.AdbcConnection(database))
            for setting in (
                f"PRAGMA busy_timeout = {int(dsn.connect_timeout_s * 1000)}",
                f"PRAGMA hard_heap_limit = {HEAP_BYTES}",
                "PRAGMA temp_store = FILE",
                "PRAGMA query_only = ON",
                "BEGIN",
            ):
                self.rows(setting, bound=False)
        except BaseException:
            self.close()
            raise

    def rows(self, query: str, *, bound: bool = True) -> list[list[Any]]:
        """The few rows of ``query``."""
        with self._running(query, 64, bound=bound) as reader:
            return [list(row.values()) for batch in reader for row in batch.to_pylist()]

    def plan(self, statement: str) -> list[str]:
        return [str(detail) for *_, detail in self.rows(f"EXPLAIN QUERY PLAN {statement}")]

    def read(self, statement: str, batch_rows: int) -> pa.RecordBatchReader:
        return self._opened.enter_context(self._running(statement, batch_rows))

    @contextmanager
    def _running(self, query: str, batch_rows: int, *, bound: bool = True) -> Iterator[pa.RecordBatchReader]:
        from adbc_driver_manager import AdbcStatement
        from adbc_driver_sqlite import StatementOptions

        with AdbcStatement(self._connection) as running:
            running.set_options(**{StatementOptions.BATCH_ROWS.value: str(batch_rows)})
            running.set_sql_query(query)
            if bound and self._bound:
                running.bind(pa.record_batch(self._bound, [str(n) for n in range(len(self._bound))]))
            stream, _ = running.execute_query()
            with pa.RecordBatchReader.from_stream(stream) as reader:
                yield reader

    def close(self) -> None:
        self._opened.close()
