"""DuckDB's types as Arrow's.

DuckDB makes Arrow arrays itself. A type whose arrays would lose the meaning (BIT is padded bytes, TIME WITH TIME ZONE
loses its offset), or that Arrow lacks (HUGEINT has a digit more than a decimal), is cast in the query, at any depth:
::

    STRUCT(a HUGEINT, b BIT[])    ->    STRUCT("a" DECIMAL(38,0), "b" VARCHAR[])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fluxport import compute as pc
from fluxport.findings import Findings
from fluxport.stages import FIELD_KIND, FIELD_TYPE

_KEPT = frozenset(
    {"boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint"}
    | {"float", "double", "decimal", "varchar", "blob", "time", "time_ns", "interval", "uuid", "null", "geometry"}
)
_MOMENTS = frozenset({"date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"})
_CAST = {"hugeint": "DECIMAL(38,0)", "uhugeint": "DECIMAL(38,0)", "variant": "JSON"}  # others: VARCHAR
_KINDS = {"json": "json", "variant": "json", "bignum": "number", "geometry": "wkb"}  # of text and bytes
_NAME_MAX = 200  # an enumeration's type lists its values


@dataclass(frozen=True)
class Column:
    """``cast`` is the type to convert to in the query; None: the column's own."""

    name: str
    declared: str
    cast: str | None

    @property
    def metadata(self) -> dict[bytes, bytes]:
        found = {FIELD_TYPE: self.declared[:_NAME_MAX].encode()}
        kind = _KINDS.get(self.declared.lower())
        return found | ({FIELD_KIND: kind.encode()} if kind else {})


def columns(names: Sequence[str], types: Sequence[Any]) -> list[Column]:
    """The columns of a result; ``types`` are DuckDB's."""
    return [Column(name, str(kind), _cast(kind, inside=False)) for name, kind in zip(names, types, strict=True)]


def casting(statement: str, found: Sequence[Column]) -> str:
    """``statement`` with the casts of its columns."""
    cells = [f"c{index}" for index in range(len(found))]
    casts = [
        cell if column.cast is None else f"CAST({cell} AS {column.cast})"
        for cell, column in zip(cells, found, strict=True)
    ]
    return f"SELECT {', '.join(casts)} FROM (\n{statement}\n) AS fluxport_rows({', '.join(cells)})"  # noqa: S608  the guarded query in parentheses


def _cast(kind: Any, *, inside: bool) -> str | None:
    """The type to cast ``kind`` to; None if it stays. Dates ``inside`` of another type become text: their infinity has
    no place in Arrow, and only a column's is found."""
    name = kind.id
    if name in _KEPT or (name in _MOMENTS and not inside):
        return None
    if name in ("list", "array"):
        child = kind.children[0][1]
        cast = _cast(child, inside=True)
        return None if cast is None and name == "list" else f"{cast or child}[]"
    if name == "map":
        both = [child for _, child in kind.children]
        casts = [_cast(child, inside=True) for child in both]
        return f"MAP({casts[0] or both[0]}, {casts[1] or both[1]})" if any(casts) else None
    if name in ("struct", "tuple") and kind.children:
        fields = [
            (field or f"element{number}", child, _cast(child, inside=True))
            for number, (field, child) in enumerate(kind.children, 1)
        ]
        inner = ", ".join(f"{_quoted(field)} {cast or child}" for field, child, cast in fields)
        return f"STRUCT({inner})" if any(cast for _, _, cast in fields) else None
    return _CAST.get(name, "VARCHAR")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class Finisher:
    """Gives batches the columns' names and metadata, and replaces infinite dates, which Arrow lacks, by null."""

    def __init__(self, found: Sequence[Column], schema: pa.Schema, findings: Findings) -> None:
        fields = zip(found, schema, strict=True)
        self.schema = pa.schema(
            [pa.field(column.name, _plain(field.type), metadata=column.metadata) for column, field in fields]
        )
        self._moments = [index for index, field in enumerate(self.schema) if field.type.id in _INFINITE]
        self._findings = findings

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [array.storage if isinstance(array.type, pa.BaseExtensionType) else array for array in batch.columns]
        for index in self._moments:
            arrays[index] = self._finite(arrays[index], self.schema.names[index])
        return pa.record_batch(arrays, schema=self.schema)

    def _finite(self, array: pa.Array, name: str) -> pa.Array:
        counts = _INFINITE[array.type.id]
        numbers = array.view(counts)
        most = (1 << counts.bit_width - 1) - 1
        infinite = pc.is_in(numbers, pa.array([most, -most], counts))
        if not pc.any(infinite).as_py():
            return array
        self._findings.add("infinity_null", name, infinite.true_count)
        return pc.if_else(infinite, pa.scalar(None, array.type), array)


_INFINITE = {pa.date32().id: pa.int32(), pa.timestamp("us").id: pa.int64()}


def _plain(kind: pa.DataType) -> pa.DataType:
    """``kind`` without an extension around it."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
