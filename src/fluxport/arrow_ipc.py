"""Untrusted Arrow IPC streams: their metadata is validated before it is used.

Compressed buffers and dictionaries are refused: a few bytes of either can expand to gigabytes.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

import pyarrow as pa

from fluxport.errors import Refused


@contextlib.contextmanager
def opened(content: bytes, where: str, code: str) -> Iterator[pa.RecordBatchReader]:
    """A reader of ``content``, a complete stream; Refused with ``code`` if it is invalid. ``where`` names the stream in
    the message."""
    try:
        _check_messages(content, where, code)
        with pa.ipc.open_stream(pa.py_buffer(content)) as reader:
            yield reader
    except (pa.ArrowException, OSError, struct.error, IndexError) as error:
        raise Refused(f"{where} is not a complete Arrow IPC stream.", code=code) from error


def read(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches, each fully validated."""
    for batch in reader:
        batch.validate(full=True)
        yield batch


def _check_messages(content: bytes, where: str, code: str) -> None:
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(content))
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.type == "dictionary":
            raise Refused(f"{where} has dictionaries; send plain columns.", code=code)
        if message.type == "record batch" and _is_compressed(message.metadata.to_pybytes()):
            raise Refused(f"{where} is compressed; send Arrow IPC without compression.", code=code)


def _is_compressed(message: bytes) -> bool:
    """Whether a record batch names a codec: field 3 of the table that is field 2 of the message (FlatBuffers)."""
    (root,) = struct.unpack_from("<I", message, 0)
    at = _field(message, root, 2)
    assert at is not None
    (offset,) = struct.unpack_from("<I", message, at)
    return _field(message, at + offset, 3) is not None


def _field(message: bytes, table: int, number: int) -> int | None:
    (back,) = struct.unpack_from("<i", message, table)
    vtable = table - back
    (size,) = struct.unpack_from("<H", message, vtable)
    if size < 4 + 2 * (number + 1):
        return None
    (offset,) = struct.unpack_from("<H", message, vtable + 4 + 2 * number)
    return table + offset if offset else None
