"""The three interfaces of the stream, and the few words they share.

Everything is a pulled, synchronous generator that holds one record batch and one chunk at a time; closing a generator
is part of its contract and must reach the source, whose query then ends on the server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.findings import Findings

Batches: TypeAlias = "Generator[pa.RecordBatch, None, None]"
Chunks: TypeAlias = Generator[bytes | memoryview, None, None]
# A step sees the schema once and returns the schema it makes of it, with the function for each batch.
Apply: TypeAlias = "Callable[[pa.RecordBatch], pa.RecordBatch]"
Step: TypeAlias = "Callable[[pa.Schema], tuple[pa.Schema, Apply]]"

# How many threads of ours can run at the same moment.
PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

# Keys of Arrow field metadata by which rooms tell each other about a column (values are UTF-8 bytes).
FIELD_TYPE = b"fluxport:type"  # the database's own name of the type: "bigint unsigned"
FIELD_KIND = b"fluxport:kind"  # what a value means beyond its Arrow type: "json", "time", "wkb", "number", "date"
FIELD_WIDTH = b"fluxport:width"  # column width for spreadsheets, in characters
FIELD_FORMAT = b"fluxport:format"  # number or date format for spreadsheets
FIELD_AS_TEXT = b"fluxport:as_text"  # b"1": numbers of this column are text cells in spreadsheets


@dataclass(frozen=True)
class Limits:
    """Bounds of one export; passing one is LimitExceeded. ``rows`` is a wish, not a bound: the stream ends there."""

    rows: int | None = None
    rows_max: int | None = None
    bytes_max: int | None = None
    cell_bytes_max: int = 64 << 20
    deadline_s: float | None = None


# How a stored file was compared with what was sent, from the strongest to the weakest: by a digest that the store
# itself told, or by its size alone.
SIZE = "size"
VERIFIED = ("sha256", "md5", "crc64", "crc32c", SIZE)


def weakest(verified: Iterable[str]) -> str:
    """What holds for several files, or parts, together."""
    return max(verified, key=VERIFIED.index, default=SIZE)


@dataclass(frozen=True)
class Receipt:
    """Proof of a stored file: where, how long, what SHA-256 (lowercase hex) was sent, and by which of VERIFIED the
    store confirmed that it holds that."""

    location: str
    size_bytes: int
    sha256: str
    verified: str = SIZE


@dataclass(frozen=True)
class About:
    """What a browser is told of a file: its media type, and the name under which people save it."""

    media_type: str = "application/octet-stream"
    filename: str | None = None


@dataclass(frozen=True)
class SignedUrl:
    """A link to a stored file for whoever holds it; ``expires_s`` may be less than was asked for."""

    url: str = field(repr=False)
    expires_s: float


class Source(Protocol):
    """Rows as record batches.

    Reading ``schema`` connects and starts the query (nothing happens before); ``batches()`` is called at most once and
    yields batches of at most a few MiB in the order of the source, the first one early. ``close()`` may be called from
    any thread, any number of times, at any moment: it ends the query on the server and makes a pending pull raise
    Canceled. The generator ends normally only after the source's own explicit end of rows; anything else raises
    Unavailable (connection, time) or Refused (rejected). Refused by the server on connect or prepare comes from
    ``schema``.

    A source may say ``sent = True``: a client sends its rows and waits for the answer to all of them, so those beyond
    a limit are read all the same. One may say ``served = True``: another process makes its rows and reading them costs
    little, so that a thread of its own pays only where there are processors for all.
    """

    @property
    def schema(self) -> pa.Schema: ...

    def batches(self) -> Batches: ...

    def close(self) -> None: ...


class Encoder(Protocol):
    """Record batches to the bytes of one file.

    ``encode`` yields the whole file from first byte to last, pulls no batch before it needs it, and makes a valid file
    of no rows. The bytes joined do not depend on how the rows were cut into batches, nor on the time of day. Closing
    the generator before its end leaves nothing behind. What had to be changed is counted in the ``findings`` given to
    the constructor.
    """

    def encode(self, schema: pa.Schema, batches: Batches) -> Chunks: ...


class Sink(Protocol):
    """A place where files rest.

    ``put`` either stores all of ``chunks`` under ``name`` and returns the receipt, or leaves nothing and raises; if
    ``chunks`` raises, what was written is removed and that same error goes up. ``open`` reads what is stored at a
    receipt's location, from ``start`` up to ``end`` (not included; None: the last byte); NotFound if it is not there.
    ``url`` is a link of the store's own, None where it has none. ``remove`` deletes what is stored under a name or a
    receipt's location, if it is there, and what a killed process left unfinished under it. ``sweep`` deletes what was
    stored more than ``older_than_s`` before ``now`` (Unix time), and what killed processes left unfinished, and tells
    their names.
    """

    def put(self, name: str, chunks: Chunks, about: About | None = None) -> Receipt: ...

    def open(self, location: str, start: int = 0, end: int | None = None) -> Chunks: ...

    def url(self, location: str, expires_s: float, about: About | None = None) -> SignedUrl | None: ...

    def remove(self, name: str) -> None: ...

    def sweep(self, older_than_s: float, now: float) -> Sequence[object]: ...


Compress: TypeAlias = Callable[[Chunks], Chunks]
EncoderFactory: TypeAlias = "Callable[[Any, Findings], Encoder]"
