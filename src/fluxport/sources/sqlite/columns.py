"""Arrow types of a result whose cells may each have a type of their own.

SQLite gives every cell its own storage class. The set of classes in a column decides its type: a single class gives its
own type, integers among reals become reals if a double holds each exactly, and any other mix becomes text, in which
every class has an exact form. The declared type decides only for a column without values.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from fluxport.arrow_groups import Groups, cut
from fluxport.digits import float_text
from fluxport.errors import QueryFailed
from fluxport.findings import Findings
from fluxport.stages import FIELD_TYPE

# Bits of a column's set of storage classes; a double does not hold every integer beyond 2**53.
INTEGER, LARGE_INTEGER, REAL, TEXT, BLOB = 1, 2, 4, 8, 16
EXACT_MAX = 1 << 53

CLASS_OF = (
    f"CASE typeof({{0}}) WHEN 'integer' THEN CASE WHEN {{0}} BETWEEN {-EXACT_MAX} AND {EXACT_MAX} "
    f"THEN {INTEGER} ELSE {LARGE_INTEGER} END "
    f"WHEN 'real' THEN {REAL} WHEN 'text' THEN {TEXT} WHEN 'blob' THEN {BLOB} ELSE 0 END"
)


def classes(cells: Sequence[Any]) -> int:
    """The set of storage classes of ``cells``; text is a bytearray here, a blob is bytes."""
    mask = 0
    for kind in set(map(type, cells)):
        mask |= _BITS[kind]
    if mask & INTEGER and any(type(cell) is int and abs(cell) > EXACT_MAX for cell in cells):
        mask |= LARGE_INTEGER
    return mask


_BITS: dict[type, int] = {
    type(None): 0,
    int: INTEGER,
    float: REAL,
    bytearray: TEXT,
    bytes: BLOB,
}


def probe(statement: str, count: int, indices: Sequence[int]) -> str:
    """A query for the sets of classes of the columns ``indices`` of ``statement``, which has ``count`` columns.

    The classes are powers of two, so that the sum of the distinct ones is their set.
    """
    return numbered(statement, count, [f"sum(DISTINCT {CLASS_OF.format(f'c{index}')})" for index in indices])


def numbered(statement: str, count: int, results: Sequence[str]) -> str:
    """A query for ``results``, expressions over the ``count`` columns of ``statement`` named c0, c1 and so on."""
    names = ", ".join(f"c{index}" for index in range(count))
    return f"WITH fluxport_rows({names}) AS ({statement}\n) SELECT {', '.join(results)} FROM fluxport_rows"  # noqa: S608  the guarded query in parentheses


@dataclass(frozen=True)
class Column:
    name: str
    declared: str
    mask: int  # the set of storage classes

    @property
    def arrow(self) -> pa.DataType:
        if not self.mask:
            return _by_affinity(self.declared)
        if self.mask <= INTEGER | LARGE_INTEGER:
            return pa.int64()
        if self.mask in (REAL, REAL | INTEGER):
            return pa.float64()
        return pa.binary() if self.mask == BLOB else pa.utf8()

    @property
    def field(self) -> pa.Field:
        return pa.field(self.name, self.arrow, metadata={FIELD_TYPE: (self.declared or str(self.arrow)).encode()})

    def array(self, cells: Sequence[Any], findings: Findings) -> pa.Array:
        """``cells`` as an array, unchanged; QueryFailed for a cell whose class the probe did not report."""
        if (array := _unchanged(cells, self.arrow)) is not None:
            return array
        if pa.types.is_string(self.arrow):
            return self._texts(cells, findings)
        raise QueryFailed(
            f"The types of column {self.name!r} differ each time the query runs; CAST it in the query.",
            code="unstable_types",
        )

    def _texts(self, cells: Sequence[Any], findings: Findings) -> pa.Array:
        """Cells of any class as text; numbers in the form that all formats write."""
        reals = iter(float_text(pa.array([cell for cell in cells if type(cell) is float], pa.float64())).to_pylist())
        findings.add("mixed_types_as_text", self.name, sum(type(cell) not in (bytearray, type(None)) for cell in cells))
        texts = [next(reals) if type(cell) is float else self._text(cell, findings) for cell in cells]
        return pa.array(texts, pa.utf8())

    def _text(self, cell: Any, findings: Findings) -> str | None:
        if type(cell) is bytearray:
            try:
                return cell.decode()
            except UnicodeDecodeError:
                findings.add("invalid_text_replaced", self.name)
                return cell.decode(errors="replace")
        if type(cell) is int:
            return str(cell)
        return None if cell is None else cell.hex()


def _unchanged(cells: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    """``cells`` as an array, if the type ``kind`` holds them as they are."""
    # Arrow accepts UTF-8 bytes as text, and text as bytes.
    alike = (0, TEXT) if kind == pa.utf8() else (0, BLOB) if kind == pa.binary() else None
    if alike is None or classes(cells) in alike:
        with suppress(pa.ArrowInvalid, pa.ArrowTypeError):
            return pa.array(cells, kind)
    return None


class Decoder:
    """Rows as record batches. Columns of one type are converted together, as a call takes long beside the few cells
    that a column has in a batch of many; alone where a cell has another class."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.schema = pa.schema([column.field for column in columns])
        self._columns = columns
        self._groups = Groups(self.schema.types)

    def batch(self, rows: Sequence[Sequence[Any]], findings: Findings) -> pa.RecordBatch:
        cells = list(zip(*rows, strict=True))
        arrays: list[pa.Array] = [None] * len(cells)
        for group in self._groups.of(len(rows)):
            if len(group) == 1:
                continue
            joined = _unchanged(list(chain.from_iterable(cells[index] for index in group)), self.schema.types[group[0]])
            if isinstance(joined, pa.Array):  # text of more than 2 GiB becomes several arrays
                for index, array in zip(group, cut(joined, len(group)), strict=True):
                    arrays[index] = array
        for index, column in enumerate(self._columns):
            if arrays[index] is None:
                arrays[index] = column.array(cells[index], findings)
        return pa.record_batch(arrays, schema=self.schema)


def _by_affinity(declared: str) -> pa.DataType:
    """The rules of https://www.sqlite.org/datatype3.html#determination_of_column_affinity, in their order."""
    name = declared.upper()
    for parts, arrow in _AFFINITIES:
        if any(part in name for part in parts):
            return arrow
    return pa.utf8() if name else pa.null()


_AFFINITIES: tuple[tuple[tuple[str, ...], pa.DataType], ...] = (
    (("INT",), pa.int64()),
    (("CHAR", "CLOB", "TEXT"), pa.utf8()),
    (("BLOB",), pa.binary()),
    (("REAL", "FLOA", "DOUB", "DECIMAL", "NUMERIC"), pa.float64()),
)
