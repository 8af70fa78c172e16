"""JSON Lines and JSON (one array), a slice of rows at a time.

The kernels of ``_jsontext.py`` turn columns into JSON values; names are prepended, and ``_lines.py`` joins the rows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from fluxport.errors import Refused
from fluxport.formats._jsontext import json_body, native
from fluxport.formats._lines import Lines
from fluxport.formats._rows import THREADS, bounded_slices, in_order
from fluxport.formats.names import unique_names
from fluxport.formats.options import CommonOptions, option
from fluxport.formats.text import TextStyle, check_style, check_types, report_times
from fluxport.stages import Batches, Chunks

if TYPE_CHECKING:
    from fluxport.findings import Findings


@dataclass(frozen=True, kw_only=True)
class JsonOptions(CommonOptions):
    """NULL is always ``null`` and booleans are JSON booleans, so ``null_value`` and the like have no effect."""

    int64_as_string: bool = option(False, "64-bit integers as strings, for readers that parse numbers as doubles")
    decimal_as_string: bool = option(False, "decimals as strings, for the same readers")


class _JsonEncoder:
    _row: tuple[str, str]  # the start and end of each row

    def __init__(self, options: JsonOptions, findings: Findings, *, threads: int = THREADS) -> None:
        self._options = options
        self._findings = findings
        self._threads = threads
        self._lines = Lines(",", self._row[1])
        self._style = native(
            TextStyle(
                datetime_format=options.datetime_format,
                date_format=options.date_format,
                binary=options.binary or "base64",
            )
        )
        check_style(self._style)

    def encode(self, schema: pa.Schema, batches: Batches) -> Chunks:
        try:
            if not len(schema):
                raise Refused("The result has no columns, so there is nothing to write.", code="no_columns")
            check_types(schema, self._style)
            labels = [json.dumps(name, ensure_ascii=False) + ":" for name in unique_names(schema.names, self._findings)]
            labels[0] = self._row[0] + labels[0]
            slices = bounded_slices(batches, len(schema))
            try:
                yield from self._framed(in_order(partial(self._rows, schema, labels), slices, self._threads))
            finally:
                slices.close()
        finally:
            batches.close()

    def _framed(self, rows: Chunks) -> Chunks:
        yield from rows

    def _rows(self, schema: pa.Schema, labels: list[str], batch: pa.RecordBatch) -> memoryview:
        report_times(batch, self._style, self._findings)
        columns = zip(batch.columns, schema, labels, strict=True)
        return self._lines.join([self._members(*column) for column in columns]).data

    def _members(self, array: pa.Array, field: pa.Field, label: str) -> pa.StringArray:
        """The column as ``"name":value``; the first column includes the start of the row."""
        report = partial(self._findings.add, "not_a_number", field.name)
        quote, body = json_body(array, field, self._style, report)
        if self._as_string(field.type):
            quote = '"'
        cells = self._lines.enclosed(self._lines.hide(body), label + quote, quote)
        return self._lines.filled(cells, label + "null")

    def _as_string(self, kind: pa.DataType) -> bool:
        t = pa.types
        wide = t.is_int64(kind) or t.is_uint64(kind)
        return (wide and self._options.int64_as_string) or (t.is_decimal(kind) and self._options.decimal_as_string)


class JsonLinesEncoder(_JsonEncoder):
    """One object per line."""

    _row = ("{", "}\n")


class JsonEncoder(_JsonEncoder):
    """One array with an object per line."""

    _row = (",\n{", "}")

    def _framed(self, rows: Chunks) -> Chunks:
        yield b"["
        first = True
        for chunk in rows:
            yield chunk[1:] if first else chunk  # no comma before the first row
            first = False
        yield b"]\n" if first else b"\n]\n"
