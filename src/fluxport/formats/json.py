"""JSON Lines and JSON (one array), a slice of rows at a time.

The kernels of ``_jsontext.py`` turn columns into JSON values, which ``_lines.py`` joins with the names of the columns.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from fluxport.decimals import decimal_type
from fluxport.errors import Refused
from fluxport.formats._jsontext import escapes, is_plain_text, json_body, native, not_finite
from fluxport.formats._lines import Cells, Lines
from fluxport.formats._rows import THREADS, Groups, bounded_slices, distinct, in_order
from fluxport.formats.names import unique_names
from fluxport.formats.options import CommonOptions, option
from fluxport.formats.text import TextStyle, check_style, check_types, kind_of, report_times, text_of
from fluxport.stages import Batches, Chunks, Stored

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
            fields, kinds = distinct(schema)
            check_types(fields, self._style)
            start, end = self._row
            names = [json.dumps(name, ensure_ascii=False) for name in unique_names(schema.names, self._findings)]
            lines = Lines([f"{',' if i else start}{name}:" for i, name in enumerate(names)], end, "null")
            groups = Groups(schema, fields, kinds)
            slices = bounded_slices(batches, schema)
            try:
                yield from self._framed(in_order(partial(self._rows, schema, groups, lines), slices, self._threads))
            finally:
                slices.close()
        finally:
            batches.close()

    def _framed(self, rows: Chunks) -> Chunks:
        yield from rows

    def _rows(self, schema: pa.Schema, groups: Groups, lines: Lines, batch: pa.RecordBatch) -> Chunks:
        """The rows of a slice, as consecutive pieces."""
        cells = [self._values(schema, indices, array) for indices, array in groups.of(batch)]
        return lines.join(cells, batch.num_rows)

    def _values(self, schema: pa.Schema, indices: list[int], array: pa.Array) -> Cells:
        """A group of columns as JSON values, without the quotes around strings."""
        field = schema[indices[0]]
        report_times(array, schema, indices, self._style, self._findings)
        if is_plain_text(array, field):
            text = text_of(array, field, self._style)
            changed, texts = escapes(text) or (None, None)
            return Cells(indices, text, quoted=True, changed=changed, texts=texts)

        def report(count: int) -> None:
            if len(indices) == 1:
                self._findings.add("not_a_number", field.name, count)
                return
            for index, bad in zip(indices, not_finite(array, len(indices)), strict=True):
                self._findings.add("not_a_number", schema[index].name, bad)

        quote, body = json_body(array, field, self._style, report)
        return Cells(indices, body, quoted=bool(quote) or self._as_string(field))

    def stored(self, schema: pa.Schema) -> list[Stored]:
        return [self._stored(field) for field in schema]

    def _stored(self, field: pa.Field) -> Stored:
        kind, t = field.type, pa.types
        numbers = kind_of(field) == b"number"
        if numbers or t.is_floating(kind):
            return Stored("string" if self._as_string(field) else "number", ("not_a_number",))
        if self._as_string(field):
            return Stored("string")
        if t.is_integer(kind) or decimal_type(kind) is not None:
            return Stored("number")
        if t.is_struct(kind) or t.is_map(kind):
            return Stored("object")
        if t.is_nested(kind):
            return Stored("array")
        return Stored("boolean" if t.is_boolean(kind) else "JSON" if kind_of(field) == b"json" else "string")

    def _as_string(self, field: pa.Field) -> bool:
        kind = field.type
        wide = pa.types.is_int64(kind) or pa.types.is_uint64(kind)
        exact = decimal_type(kind) is not None or kind_of(field) == b"number"
        return (wide and self._options.int64_as_string) or (exact and self._options.decimal_as_string)


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
