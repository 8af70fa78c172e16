"""Parquet, a row group at a time: Arrow's writer writes to memory, which is yielded after each group.

The footer comes last, so a truncated file is unreadable. Values without a Parquet type, or whose type readers
misinterpret, become text and are reported (``type_as_text``): durations (DuckDB reads bare integers), decimals of more
than 38 digits (DuckDB reads doubles, polars fails), month intervals, unions. JSON columns have the JSON logical type.
Options for the text of dates, nulls and binary do not apply: values retain their types.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from fluxport import compute as pc
from fluxport.errors import Broken, Refused
from fluxport.findings import Findings
from fluxport.formats.columnar import (
    DECIMAL128_DIGITS,
    OutputBuffer,
    narrow_decimal,
    plain_type,
    row_groups,
    stored_column,
    without_our_metadata,
)
from fluxport.formats.names import unique_names
from fluxport.formats.options import CommonOptions, option
from fluxport.formats.slices import resumed
from fluxport.formats.text import kind_of
from fluxport.stages import Batches, Chunks

GROUP_BYTES = 8 << 20  # of values in memory; a group of wide rows or large cells ends at this size
SAMPLE_ROWS = 16_384
MAGIC = b"PAR1"  # the first bytes of every file: sent at once, as the first group takes a while


@dataclass(frozen=True, kw_only=True)
class ParquetOptions(CommonOptions):
    codec: Literal["zstd", "snappy", "none"] = option("zstd", "compression inside the file")
    row_group_size: int = option(65_536, "maximum rows per row group; fewer if rows are large")


class ParquetEncoder:
    def __init__(self, options: ParquetOptions, findings: Findings) -> None:
        if options.row_group_size < 1:
            raise Refused("Option 'row_group_size' must be at least 1.", code="bad_option")
        self._options = options
        self._findings = findings

    def encode(self, schema: pa.Schema, batches: Batches) -> Chunks:
        names = unique_names(schema.names, self._findings)
        columns = [
            stored_column(field, name, _kind(field), self._findings) for field, name in zip(schema, names, strict=True)
        ]
        stored = pa.schema([field for field, _ in columns], metadata=without_our_metadata(schema.metadata))

        def converted() -> Batches:
            for batch in resumed(first, batches):
                arrays = [convert(array) for (_, convert), array in zip(columns, batch.columns, strict=True)]
                yield _batch(arrays, stored, batch.num_rows)

        groups = row_groups(converted(), self._options.row_group_size, GROUP_BYTES)
        output = OutputBuffer()
        with closing(batches), closing(groups):
            first = next(batches, None)  # an early failure is raised before our first byte
            yield MAGIC
            # If this generator is closed early, the writer still ends its file, into memory that is discarded.
            with ExitStack() as stack:
                writer = None
                for group in groups:
                    if writer is None:
                        writer = stack.enter_context(self._writer(output, stored, _repeating(group)))
                    writer.write_table(pa.Table.from_batches([group]), row_group_size=group.num_rows)
                    del group  # free it before the next one is built
                    yield output.drain()
                if writer is None:
                    stack.enter_context(self._writer(output, stored, []))
            yield output.drain()

    def _writer(self, output: OutputBuffer, stored: pa.Schema, repeating: list[str]) -> pq.ParquetWriter:
        """The writer of all groups; the magic bytes of the file have already been yielded."""
        writer = pq.ParquetWriter(
            pa.PythonFile(output, mode="w"),
            stored,
            compression=self._options.codec,
            use_dictionary=repeating or False,
        )
        if output.drain() != MAGIC:
            raise Broken(
                "This version of pyarrow writes another Parquet header; install the version that Fluxport requires."
            )
        return writer


def _kind(field: pa.Field) -> pa.DataType | None:
    """The type of a column in the file; None where it must be text."""
    kind = plain_type(field.type, _leaf)
    return pa.json_(pa.utf8()) if kind == pa.string() and kind_of(field) == b"json" else kind


def _leaf(kind: pa.DataType) -> pa.DataType | None:
    """The type of these values in the file; None where they must be text."""
    t = pa.types
    if t.is_duration(kind) or t.is_interval(kind) or t.is_union(kind) or t.is_struct(kind):
        return None
    if t.is_decimal256(kind) and kind.precision > DECIMAL128_DIGITS:
        return None
    if t.is_date64(kind):
        return pa.date32()
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.UuidType | pa.JsonType):
        return plain_type(kind.storage_type, _leaf)
    return narrow_decimal(kind)


def _batch(arrays: list[pa.Array], schema: pa.Schema, rows: int) -> pa.RecordBatch:
    """A batch that has its number of rows even without columns."""
    if arrays:
        return pa.RecordBatch.from_arrays(arrays, schema=schema)
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


def _repeating(group: pa.RecordBatch) -> list[str]:
    """The columns whose values repeat at least four times on average at the start of the first group.

    For other columns a dictionary costs one hash per value and saves nothing. Groups do not depend on the input
    batches, so neither does this choice.
    """
    sample = group.slice(0, SAMPLE_ROWS)
    return [
        field.name
        for field, column in zip(group.schema, sample.columns, strict=True)
        if _hashable(field.type) and pc.count_distinct(column).as_py() * 4 <= len(column)
    ]


def _hashable(kind: pa.DataType) -> bool:
    t = pa.types
    return (t.is_primitive(kind) and not t.is_boolean(kind)) or t.is_string(kind) or t.is_binary(kind)
