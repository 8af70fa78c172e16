"""Files of the text encoders, and values whose text the tests compute independently."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa

from fluxport import formats
from fluxport.findings import Findings
from fluxport.stages import FIELD_KIND, Batches

TIME = {FIELD_KIND: b"time"}
JSON = {FIELD_KIND: b"json"}
NUMBER = {FIELD_KIND: b"number"}


class Made(NamedTuple):
    """A file's bytes and its findings, as ``(code, column): count``."""

    data: bytes
    reported: dict[tuple[str, str | None], int]

    @property
    def text(self) -> str:
        return self.data.decode()


def pieces(table: pa.Table, sizes: Iterable[int] = ()) -> Batches:
    """``table`` in batches of ``sizes`` rows, then the rest in one."""
    batch = table.combine_chunks().to_batches()[0] if table.num_rows else None
    start = 0
    for size in itertools.chain(sizes, (table.num_rows,)):
        if batch is not None and start < batch.num_rows:
            yield batch.slice(start, size)
            start += size


def written(name: str, table: pa.Table, sizes: Iterable[int] = (), **given: Any) -> Made:
    """``table`` as a file of format ``name``, cut into batches of ``sizes`` rows and the rest."""
    findings = Findings()
    encoder = formats.encoder(name, formats.options(name, given), findings)
    data = b"".join(encoder.encode(table.schema, pieces(table, sizes)))
    return Made(data, {(f.code, f.column): f.count for f in findings})


def column(*values: Any, kind: pa.DataType | None = None, metadata: dict[bytes, bytes] | None = None) -> pa.Table:
    """A table of one column ``a`` and a number ``n``, so that NULL in ``a`` is no blank line."""
    array = pa.array(values, kind)
    schema = pa.schema([pa.field("a", array.type, metadata=metadata), pa.field("n", pa.int64())])
    return pa.table([array, pa.array(range(len(values)), pa.int64())], schema=schema)
