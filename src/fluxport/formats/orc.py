"""ORC, a stripe at a time: Arrow's writer writes to memory, which is yielded after each group of rows.

The footer comes last, so a truncated file is unreadable. ORC has no unsigned integers, which become the next wider type
(64 bits: a decimal), no half floats, no time of day and no duration; values without an ORC type, and structs that hold
structs, become text and are reported (``type_as_text``). Timestamps have nanoseconds; those with a zone are instants
(``timestamp with local time zone``). Options for the text of dates, nulls and binary do not apply: values retain
their types.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from pyarrow import orc

from fluxport.errors import Broken, Refused
from fluxport.findings import Findings
from fluxport.formats.columnar import (
    DECIMAL128_DIGITS,
    Output,
    converted,
    plain_type,
    pulled_first,
    row_groups,
    stored_column,
    stored_kinds,
)
from fluxport.formats.names import unique_names
from fluxport.formats.options import CommonOptions, option
from fluxport.stages import Batches, Chunks, Stored

GROUP_ROWS = 16_384
GROUP_BYTES = 4 << 20  # of values in memory, per call of the writer
MAGIC = b"ORC"  # the first bytes of every file: sent at once, as the first stripe takes a while


@dataclass(frozen=True, kw_only=True)
class OrcOptions(CommonOptions):
    codec: Literal["zstd", "snappy", "zlib", "none"] = option("zstd", "compression inside the file")
    stripe_bytes: int = option(2 << 20, "approximate size of a stripe before compression")


class OrcEncoder:
    def __init__(self, options: OrcOptions, findings: Findings) -> None:
        if not 1 << 16 <= options.stripe_bytes <= 64 << 20:
            raise Refused("Option 'stripe_bytes' must be 65,536 to 67,108,864.", code="bad_option")
        self._options = options
        self._findings = findings

    def encode(self, schema: pa.Schema, batches: Batches) -> Chunks:
        if not len(schema):
            batches.close()
            raise Refused("The result has no columns, so there is nothing to write.", code="no_columns")
        names = unique_names(schema.names, self._findings)
        columns = [
            stored_column(field, name, _stored_type(field.type), self._findings)
            for field, name in zip(schema, names, strict=True)
        ]
        stored = pa.schema([field for field, _ in columns])
        output = Output()
        with closing(batches):
            pulled = pulled_first(batches)  # an early failure is raised before our first byte
            yield MAGIC
            rows = converted(pulled, [convert for _, convert in columns])
            # If this generator is closed early, the writer still ends its file, into memory that is discarded.
            with (
                closing(row_groups(rows, GROUP_ROWS, GROUP_BYTES, stored)) as groups,
                closing(self._writer(output)) as writer,
            ):
                writer.write(stored.empty_table())
                if b"".join(output.drain()) != MAGIC:
                    raise Broken(
                        "This version of pyarrow writes another ORC header; install the version that Fluxport requires."
                    )
                for group in groups:
                    # In one piece: what is written of a nested column depends on where the chunks of a table end.
                    writer.write(pa.Table.from_batches([group]))
                    del group  # free it before the next one is built
                    yield from output.drain()
            yield from output.drain()

    def stored(self, schema: pa.Schema) -> list[Stored]:
        return stored_kinds(schema, lambda field: _stored_type(field.type))

    def _writer(self, output: Output) -> orc.ORCWriter:
        codec = "uncompressed" if self._options.codec == "none" else self._options.codec
        return orc.ORCWriter(output.sink, compression=codec, stripe_size=self._options.stripe_bytes)


_WIDER = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
    pa.null(): pa.string(),
}


def _stored_type(kind: pa.DataType) -> pa.DataType | None:
    """The type of a column in the file; None where it must be text: of a struct without nulls, Arrow's writer shifts
    the values of a struct inside that has nulls, at any depth."""
    stored = plain_type(kind, _leaf)
    if stored is None or not pa.types.is_struct(stored):
        return stored
    return None if any(_has_struct(field.type) for field in stored) else stored


def _has_struct(kind: pa.DataType) -> bool:
    if pa.types.is_map(kind):
        return _has_struct(kind.key_type) or _has_struct(kind.item_type)
    inside = (kind.field(index).type for index in range(kind.num_fields))
    return bool(pa.types.is_struct(kind)) or any(map(_has_struct, inside))


def _leaf(kind: pa.DataType) -> pa.DataType | None:
    """The type of these values in the file; None where they must be text."""
    t = pa.types
    if t.is_time(kind) or t.is_duration(kind) or t.is_interval(kind) or t.is_union(kind) or t.is_struct(kind):
        return None
    if t.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale) if kind.precision <= DECIMAL128_DIGITS else None
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type, _leaf)
    return _WIDER.get(kind, kind)
