"""Parquet, a row group at a time: Arrow's writer writes to memory, which is yielded after each group.

The footer comes last, so a truncated file is unreadable. Values without a Parquet type, or whose type readers
misinterpret, become text and are reported (``type_as_text``): durations (DuckDB reads bare integers), decimals of more
than 38 digits (DuckDB reads doubles, polars fails), month intervals, unions. JSON columns have the JSON logical type.
Options for the text of dates, nulls and binary do not apply: values retain their types.
"""

from __future__ import annotations

from collections.abc import Set
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from fluxport import compute as pc
from fluxport import systems
from fluxport.errors import Broken, Refused
from fluxport.findings import Findings
from fluxport.formats.columnar import (
    DECIMAL128_DIGITS,
    Output,
    converted,
    narrow_decimal,
    plain_type,
    pulled_first,
    row_tables,
    stored_column,
    stored_kinds,
    without_our_metadata,
)
from fluxport.formats.names import unique_names
from fluxport.formats.options import CommonOptions, option
from fluxport.formats.text import kind_of
from fluxport.stages import Batches, Chunks, Stored

try:
    from pyarrow._parquet import ParquetWriter  # pyarrow.parquet imports file systems, 9 MB and 20 ms
except ImportError:  # the module is private: a later pyarrow may lack it
    from pyarrow.parquet import ParquetWriter

GROUP_BYTES = 4 << 20  # of values in memory; a group of wide rows or large cells ends at this size
# A chunk of a column takes 40 us to write, however few its rows, and a kilobyte of memory until the end of the file.
COLUMN_BYTES, WIDE_GROUP_BYTES = 10 << 10, 12 << 20
# Rows that the writer takes at a time; fewer for wide tables, whose batches have fewer.
STEP_ROWS, WIDE_STEP_ROWS, WIDE_COLUMNS = 1024, 64, 64
SAMPLE_ROWS = 16_384
MAGIC = b"PAR1"  # the first bytes of every file: sent at once, as the first group takes a while


def group_bytes(columns: int) -> int:
    """The bytes of values in memory at which a row group of so many columns ends."""
    return max(GROUP_BYTES, min(columns * COLUMN_BYTES, WIDE_GROUP_BYTES))


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
        wide = group_bytes(len(schema)) > GROUP_BYTES
        step = STEP_ROWS if len(schema) <= WIDE_COLUMNS else WIDE_STEP_ROWS
        output = Output()
        with closing(batches):
            pulled = pulled_first(batches)  # an early failure is raised before our first byte
            yield MAGIC
            rows = converted(pulled, [convert for _, convert in columns])
            # If this generator is closed early, the writer still ends its file, into memory that is discarded.
            with ExitStack() as stack:
                groups = stack.enter_context(
                    closing(row_tables(rows, self._options.row_group_size, group_bytes(len(schema)), stored, step))
                )
                writer, joined = None, set[str]()
                for group in groups:
                    if writer is None:
                        repeating = _repeating(group)
                        joined = {*repeating, *(field.name for field in stored if pa.types.is_nested(field.type))}
                        writer = stack.enter_context(closing(self._writer(output, stored, repeating, step)))
                    if wide:
                        systems.return_free_memory()  # freed while the group was made
                    writer.write_table(_joined(group, joined), row_group_size=group.num_rows)
                    del group  # free it before the next one is built
                    yield from output.drain()
                if wide:
                    systems.return_free_memory()  # the footer has a kilobyte for each column of each group
                if writer is None:
                    stack.enter_context(closing(self._writer(output, stored, [], step)))
            yield from output.drain()

    def stored(self, schema: pa.Schema) -> list[Stored]:
        return stored_kinds(schema, _kind)

    def _writer(self, output: Output, stored: pa.Schema, repeating: list[str], step: int) -> ParquetWriter:
        """The writer of all groups; the magic bytes of the file have already been yielded."""
        writer = ParquetWriter(
            output.sink,
            stored,
            version="2.6",
            data_page_version="1.0",
            writer_engine_version="V2",
            compression=self._options.codec,
            use_dictionary=repeating or False,
            write_batch_size=step,
        )
        if b"".join(output.drain()) != MAGIC:
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


def _joined(group: pa.Table, names: Set[str]) -> pa.Table:
    """The group with these columns in one chunk: where the writer takes steps in values or in dictionaries, and not in
    rows, what it writes would depend on the chunks."""
    for index in [i for i, name in enumerate(group.schema.names) if name in names]:
        if (column := group.column(index)).num_chunks > 1:
            group = group.set_column(index, group.schema.field(index), column.combine_chunks())
    return group


def _repeating(group: pa.Table) -> list[str]:
    """The columns whose values repeat at least four times on average at the start of the first group.

    For other columns a dictionary costs one hash per value and saves nothing. Groups do not depend on the input
    batches, so neither does this choice.
    """
    sample = group.slice(0, SAMPLE_ROWS)
    return [
        field.name
        for field, column in zip(group.schema, sample.columns, strict=True)
        if _hashable(field.type) and _repeats(column)
    ]


def _repeats(column: pa.ChunkedArray) -> bool:
    """Whether there are at most a quarter as many distinct values as rows; mostly the first rows have more already, and
    the memory to find them in is not needed for all."""
    rows = len(column)
    for part in (column.slice(0, rows // 3), column):
        distinct = len(pc.unique(part)) - bool(part.null_count)
        if distinct * 4 > rows:
            return False
    return True


def _hashable(kind: pa.DataType) -> bool:
    t = pa.types
    return (t.is_primitive(kind) and not t.is_boolean(kind)) or t.is_string(kind) or t.is_binary(kind)
