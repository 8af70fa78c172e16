"""The three interfaces of a stream (Source, Encoder, Sink), and the types they share.

Everything is a pulled, synchronous generator that holds one record batch and one chunk at a time. Closing a generator
is part of its contract and must reach the source, which then cancels its query on the server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa


Batches: TypeAlias = "Generator[pa.RecordBatch, None, None]"
Chunks: TypeAlias = Generator[bytes | memoryview, None, None]
# A step receives the schema once and returns the resulting schema with the function to apply to each batch.
Apply: TypeAlias = "Callable[[pa.RecordBatch], pa.RecordBatch]"
Step: TypeAlias = "Callable[[pa.Schema], tuple[pa.Schema, Apply]]"

# How many threads can run in parallel.
PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

# Keys of Arrow field metadata that describe a column (values are UTF-8 bytes).
FIELD_TYPE = b"fluxport:type"  # the database's name of the type: "bigint unsigned"
FIELD_KIND = b"fluxport:kind"  # what a value means beyond its Arrow type: "json", "time", "wkb", "number", "date"
FIELD_WIDTH = b"fluxport:width"  # column width for spreadsheets, in characters
FIELD_FORMAT = b"fluxport:format"  # number or date format for spreadsheets
FIELD_AS_TEXT = b"fluxport:as_text"  # b"1": numbers of this column are text cells in spreadsheets


@dataclass(frozen=True)
class Limits:
    """Limits of one export. ``rows`` truncates the result; exceeding ``deadline_s`` raises TimedOut, any other limit
    raises LimitExceeded."""

    rows: int | None = None
    rows_max: int | None = None
    bytes_max: int | None = None
    cell_bytes_max: int = 64 << 20
    deadline_s: float | None = None


# How a stored file was compared with what was sent, from the strongest to the weakest: by a digest that the store
# reported, or only by its size.
SIZE = "size"
VERIFIED = ("sha256", "md5", "crc64", "crc32c", SIZE)


def weakest(verified: Iterable[str]) -> str:
    """The weakest verification of several files or parts."""
    return max(verified, key=VERIFIED.index, default=SIZE)


@dataclass(frozen=True)
class Receipt:
    """Proof of a stored file: its location, size, the SHA-256 (lowercase hex) of what was sent, and by which of
    VERIFIED the store confirmed it."""

    location: str
    size_bytes: int
    sha256: str
    verified: str = SIZE


@dataclass(frozen=True)
class About:
    """Content-Type and download file name of a stored file."""

    media_type: str = "application/octet-stream"
    filename: str | None = None


@dataclass(frozen=True)
class SignedUrl:
    """A presigned URL of a stored file; ``expires_s`` may be less than requested."""

    url: str = field(repr=False)
    expires_s: float


class Source(Protocol):
    """Rows as record batches.

    Reading ``schema`` connects and starts the query (nothing happens before); ``batches()`` is called at most once and
    yields batches of at most a few MiB in the order of the source, the first one early. ``close()`` may be called from
    any thread, any number of times, at any time: it cancels the query on the server and makes a pending pull raise
    Canceled. The generator ends normally only after the source's own explicit end of rows; anything else raises
    Unavailable (connection, time) or Refused (rejected). If the server refuses to connect or to prepare the query,
    ``schema`` raises.

    A source may set ``sent = True``: a client sends its rows and waits for the response to all of them, so rows beyond
    a limit are still read. It may set ``served = True``: another process produces its rows and reading them is cheap,
    so that a separate thread pays off only if there are processors for all.
    """

    @property
    def schema(self) -> pa.Schema: ...

    def batches(self) -> Batches: ...

    def close(self) -> None: ...


class Stored(NamedTuple):
    """What a column becomes in a file, for people, and the codes of findings that its values may cause."""

    kind: str
    findings: tuple[str, ...] = ()


class Encoder(Protocol):
    """Record batches to the bytes of one file.

    ``encode`` yields the whole file from first byte to last, pulls no batch before it needs it, and yields a valid file
    even without rows. The joined bytes depend neither on how the rows are split into batches nor on the time of day.
    Closing the generator early leaves nothing behind. Changes to the data are counted in the ``findings`` passed to the
    constructor.

    An encoder may have a method ``stored(schema)``, which returns a :class:`Stored` for each column, and a property
    ``sheet_rows``: the number of rows after which another sheet begins.
    """

    def encode(self, schema: pa.Schema, batches: Batches) -> Chunks: ...


class Sink(Protocol):
    """A store of files.

    ``put`` either stores all of ``chunks`` under ``name`` and returns the receipt, or leaves nothing and raises; if
    ``chunks`` raises, what was written is removed and the same error propagates. ``open`` reads the file at a receipt's
    location, from ``start`` up to ``end`` (exclusive; None: to the last byte); NotFound if it does not exist. ``url``
    returns a presigned URL, None if the store has none. ``remove`` deletes the file with a name or at a receipt's
    location, if it exists, and what a killed process left unfinished under it. ``sweep`` deletes files stored more than
    ``older_than_s`` before ``now`` (Unix time) and what killed processes left unfinished, and returns their names.
    """

    def put(self, name: str, chunks: Chunks, about: About | None = None) -> Receipt: ...

    def open(self, location: str, start: int = 0, end: int | None = None) -> Chunks: ...

    def url(self, location: str, expires_s: float, about: About | None = None) -> SignedUrl | None: ...

    def remove(self, name: str) -> None: ...

    def sweep(self, older_than_s: float, now: float) -> Sequence[object]: ...


Compress: TypeAlias = Callable[[Chunks], Chunks]
