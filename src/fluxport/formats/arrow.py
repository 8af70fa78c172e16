"""Arrow IPC stream: the schema, record batches of a fixed size, and an end-of-stream mark.

A stream cut inside a batch fails in every reader; one cut between batches lacks only the mark, which readers do not
require: compare the row count or SHA-256 with the result's. Every Arrow type is written unchanged, except layouts that
depend on how rows were batched (dictionaries, runs, views), which become plain values, and 256-bit decimals, which
become 128-bit where their digits fit: few readers support the wider ones. Names may repeat, as Arrow allows. JSON
columns are text: not every reader can use the extension type.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pyarrow as pa

from fluxport.findings import Findings
from fluxport.formats.columnar import (
    Output,
    converted,
    narrow_decimal,
    plain_array,
    plain_type,
    row_groups,
    stored_kinds,
    without_our_metadata,
)
from fluxport.formats.options import CommonOptions, option
from fluxport.stages import Batches, Chunks, Stored

BATCH_ROWS = 16_384
BATCH_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class ArrowOptions(CommonOptions):
    codec: Literal["none", "zstd", "lz4"] = option("none", "compression inside the file")


class ArrowEncoder:
    def __init__(self, options: ArrowOptions, findings: Findings) -> None:
        codec = None if options.codec == "none" else options.codec
        self._write_options = pa.ipc.IpcWriteOptions(compression=codec)

    def encode(self, schema: pa.Schema, batches: Batches) -> Chunks:
        stored = pa.schema([_stored(field) for field in schema], metadata=without_our_metadata(schema.metadata))
        converts = [
            None if field.type == kind else partial(plain_array, kind=kind)
            for field, kind in zip(schema, stored.types, strict=True)
        ]
        groups = row_groups(converted(batches, converts), BATCH_ROWS, BATCH_BYTES, stored)
        output = Output()
        with closing(batches), closing(groups):
            # If this generator is closed early, the writer still ends its stream, into memory that is discarded.
            with closing(pa.ipc.new_stream(output.sink, stored, options=self._write_options)) as writer:
                for group in groups:
                    writer.write_batch(group)
                    del group  # free it before the next one is built
                    yield from output.drain()
            yield from output.drain()

    def stored(self, schema: pa.Schema) -> list[Stored]:
        return stored_kinds(schema, lambda field: _stored(field).type)


def _stored(field: pa.Field) -> pa.Field:
    kind = plain_type(field.type, narrow_decimal)
    return pa.field(field.name, kind, field.nullable, without_our_metadata(field.metadata))
