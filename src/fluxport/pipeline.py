"""The one way rows become bytes: ``stream(source, steps, encoder, compress, limits, tally)``, or ``parts`` where the
rows of one source become several files.

Two threads per export: the source is pulled in one, everything after it in the caller's, which pulls it too where a
second thread would cost more than it gains. An encoder or a compressor may bring a helper of its own. Nothing but a few
batches and one chunk is ever held.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fluxport.errors import FluxportError, LimitExceeded, TimedOut
from fluxport.findings import Findings
from fluxport.stages import PROCESSORS, Batches, Chunks, Compress, Encoder, Limits, Source, Step

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_MIN_BYTES = 64 << 10
CHUNK_MAX_BYTES = 1 << 20
BATCHES_AHEAD = 1


@dataclass
class Tally:
    """What has gone through so far; readable from any thread while the stream runs, final once ``complete``.

    ``hashed`` may be turned off before the stream begins where a sink hashes the same bytes anyway.
    """

    rows: int = 0
    size_bytes: int = 0
    columns: list[tuple[str, str]] = field(default_factory=list)
    truncated: bool = False
    complete: bool = False
    hashed: bool = True
    started: float = field(default_factory=time.monotonic)
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256, repr=False)

    @property
    def sha256(self) -> str:
        """Lowercase hex of the bytes so far, if ``hashed``."""
        assert self.hashed
        return self._hash.hexdigest()

    def add(self, chunk: bytes | memoryview) -> None:
        if self.hashed:
            self._hash.update(chunk)
        self.size_bytes += len(chunk)


def stream(
    source: Source,
    steps: Sequence[Step],
    encoder: Encoder,
    *,
    compress: Compress | None = None,
    limits: Limits | None = None,
    tally: Tally | None = None,
) -> Chunks:
    """The bytes of one file, in chunks of 64 KiB to 1 MiB (the first one as early as possible).

    The source is always closed, however this generator ends. It returns normally only if the source came to its own end
    and the encoder closed the file; ``tally.complete`` is set then and only then.
    """
    limits = limits or Limits()
    tally = tally if tally is not None else Tally()
    with _rows(source, steps, limits, tally) as (schema, batches):
        for chunk in _file(encoder, compress, schema, batches):
            tally.add(chunk)
            _check_bytes(tally, limits.bytes_max)
            yield chunk
        tally.complete = True


@contextmanager
def _rows(source: Source, steps: Sequence[Step], limits: Limits, tally: Tally) -> Iterator[tuple[pa.Schema, Batches]]:
    """What comes out of the last step; the source is closed in the end, however that comes."""
    try:
        schema = source.schema
        applies = []
        for step in steps:
            schema, apply = step(schema)
            applies.append(apply)
        tally.columns = [(f.name, _type_name(f)) for f in schema]
        sent = getattr(source, "sent", False)
        # Inwards from the last one: each generator gets its own close, then the query ends on the server.
        with (
            closing(_pulled(source)) as pulled,
            closing(_counted(pulled, applies, limits, tally, to_the_end=sent)) as batches,
        ):
            yield schema, batches
    finally:
        source.close()


def _pulled(source: Source) -> Batches:
    """The batches by a thread of their own, but for a served source on two processors: there its server and a helper of
    the encoder have work for one, and threads that take turns on the other take a tenth of the time."""
    batches = source.batches()
    if PROCESSORS <= 2 and getattr(source, "served", False):
        return batches
    return ahead(batches, BATCHES_AHEAD, source.close)


def _file(encoder: Encoder, compress: Compress | None, schema: pa.Schema, batches: Batches) -> Chunks:
    """One file of all ``batches``, packed and cut."""
    with closing(encoder.encode(schema, batches)) as encoded:
        if compress is None:
            yield from _cut(encoded)
        else:
            with closing(compress(encoded)) as packed:
                yield from _cut(packed)


def _check_bytes(tally: Tally, bytes_max: int | None) -> None:
    if bytes_max is not None and tally.size_bytes > bytes_max:
        raise LimitExceeded(
            f"The file passes the limit of {bytes_max:,} bytes; ask for fewer rows or raise the limit.",
            code="too_many_bytes",
        )


@dataclass(frozen=True)
class Split:
    """Where a file ends and the next one begins: after exactly ``rows``, or before it would pass ``size_bytes``.

    ``size_bytes`` counts what is stored, compressed if the file is. To know it before a row is written, each batch is
    first encoded alone: the files of the pieces of a file are together no smaller than the file itself. FILLED of the
    limit is used, because compressed pieces may be a little off; a file that passes it all the same ends the export.
    """

    rows: int | None = None
    size_bytes: int | None = None


FILLED = 63 / 64


@dataclass(frozen=True, eq=False)
class Part:
    """One of several files, numbered from 1; ``chunks`` is pulled to its end before the next part is asked for."""

    number: int
    tally: Tally
    chunks: Chunks


def parts(
    source: Source,
    steps: Sequence[Step],
    encoder: Callable[[Findings], Encoder],
    split: Split,
    *,
    findings: Findings,
    compress: Compress | None = None,
    limits: Limits | None = None,
    tally: Tally | None = None,
) -> Generator[Part, None, None]:
    """The rows of one run of ``source`` as several files, each whole in itself; one file if there are no rows.

    ``encoder`` makes a new encoder for each file, which tells ``findings`` what it changed. ``limits`` and ``tally``
    are those of all files together. As in :func:`stream` the source is always closed, and ``tally.complete`` is set
    after the last file and only then. A part that is not pulled to its end is the last one.
    """
    limits = limits or Limits()
    tally = tally if tally is not None else Tally()
    with _rows(source, steps, limits, tally) as (schema, batches):

        def alone(batch: pa.RecordBatch) -> int:
            with closing(_file(encoder(Findings()), compress, schema, (b for b in (batch,)))) as chunks:
                return sum(map(len, chunks))

        rest = _Rest(batches)
        number = 1
        while number == 1 or rest.more():
            told = Tally(columns=tally.columns, hashed=tally.hashed)
            filling = _filling(rest, split, alone, told, tally)
            with closing(_file(encoder(findings), compress, schema, filling)) as chunks:
                yield Part(number, told, _part(chunks, told, split, tally, limits))
            if not told.complete:
                return
            number += 1
        tally.complete = True


def _part(chunks: Chunks, told: Tally, split: Split, tally: Tally, limits: Limits) -> Chunks:
    for chunk in chunks:
        told.add(chunk)
        tally.size_bytes += len(chunk)
        _check_bytes(told, split.size_bytes)
        _check_bytes(tally, limits.bytes_max)
        yield chunk
    told.complete = True


class _Rest:
    """Batches of which what does not fit one file is put back for the next."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._held: pa.RecordBatch | None = None

    def take(self) -> pa.RecordBatch | None:
        """The next batch, or None after the last."""
        taken, self._held = self._held, None
        return next(self._batches, None) if taken is None else taken

    def put_back(self, batch: pa.RecordBatch) -> None:
        self._held = batch

    def more(self) -> bool:
        self._held = self.take()
        return self._held is not None


def _filling(rest: _Rest, split: Split, alone: Callable[[pa.RecordBatch], int], told: Tally, tally: Tally) -> Batches:
    """The batches of one file; ``told.rows`` counts them."""
    room = None if split.size_bytes is None else int(split.size_bytes * FILLED)
    while (batch := rest.take()) is not None:
        fits = batch if split.rows is None else batch.slice(0, split.rows - told.rows)
        if room is not None:
            fits, size = _fitting(fits, room, alone)
            room -= size
        if fits.num_rows < batch.num_rows:
            rest.put_back(batch.slice(fits.num_rows))
        if fits.num_rows:
            told.rows += fits.num_rows
            yield fits
        elif not told.rows:
            raise LimitExceeded(
                f"A file of one row is larger than 'max_bytes_per_file', {split.size_bytes:,}; raise it.",
                code="row_too_large",
            )
        if fits.num_rows < batch.num_rows or told.rows == split.rows:
            return


def _fitting(batch: pa.RecordBatch, room: int, alone: Callable[[pa.RecordBatch], int]) -> tuple[pa.RecordBatch, int]:
    """The first rows of ``batch`` whose file fits into ``room`` bytes, about as many as do, and its size."""
    rows = batch.num_rows
    while rows:
        fits = batch.slice(0, rows)
        size = alone(fits)
        if size <= room:
            return fits, size
        rows = min(rows - 1, rows * max(room, 0) // size)
    return batch.slice(0, 0), 0


def _type_name(field: pa.Field) -> str:
    metadata = field.metadata or {}
    named: bytes | None = metadata.get(b"fluxport:type")
    return named.decode() if named else str(field.type)


def _counted(
    batches: Batches,
    applies: Sequence[Callable[[pa.RecordBatch], pa.RecordBatch]],
    limits: Limits,
    tally: Tally,
    *,
    to_the_end: bool,
) -> Batches:
    """The batches after all steps, counted before the encoder has them, within the limits. ``to_the_end``: what is
    beyond ``limits.rows`` is read and left out."""
    for batch in batches:
        check_deadline(tally, limits)
        if tally.truncated:
            continue
        if batch.nbytes > limits.cell_bytes_max:
            _check_cells(batch, limits, tally.rows)
        kept = batch
        if limits.rows is not None and tally.rows + batch.num_rows > limits.rows:
            kept = batch.slice(0, limits.rows - tally.rows)
            tally.truncated = True
        if limits.rows_max is not None and tally.rows + kept.num_rows > limits.rows_max:
            raise LimitExceeded(
                f"The result has more than the {limits.rows_max:,} rows allowed; narrow the query or raise the limit.",
                code="too_many_rows",
            )
        for apply in applies:
            kept = apply(kept)
        tally.rows += kept.num_rows
        if kept.num_rows:
            yield kept
        if tally.truncated and not to_the_end:
            return


def check_deadline(tally: Tally, limits: Limits) -> None:
    if limits.deadline_s is not None and time.monotonic() > tally.started + limits.deadline_s:
        raise TimedOut(
            f"The export took longer than its {limits.deadline_s:g} s and was ended; ask for fewer rows.",
            code="deadline",
            again=False,
        )


def _check_cells(batch: pa.RecordBatch, limits: Limits, rows_before: int) -> None:
    from pyarrow import types

    from fluxport import compute as pc
    from fluxport.sources.oversize import cell_too_large

    kinds = (types.is_string, types.is_binary, types.is_large_string, types.is_large_binary)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if not any(is_kind(column.type) for is_kind in kinds):
            continue
        lengths = pc.binary_length(column)
        longest = pc.max(lengths).as_py() or 0
        if longest > limits.cell_bytes_max:
            row = rows_before + pc.index(lengths, longest).as_py() + 1
            raise cell_too_large(name, row, longest, limits.cell_bytes_max)


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def ahead(batches: Batches, depth: int, cancel: Callable[[], None]) -> Batches:
    """``batches``, pulled by a thread of its own, at most ``depth`` waiting.

    ``cancel`` makes a pull that waits on the source come back; it is called when this generator is closed early. The
    thread has ended when this generator has.
    """
    slots = threading.Semaphore(depth)
    out: queue.SimpleQueue[object] = queue.SimpleQueue()
    stopped = threading.Event()

    def pull() -> None:
        try:
            try:
                for batch in batches:
                    slots.acquire()
                    if stopped.is_set():
                        return
                    out.put(batch)
            finally:
                batches.close()
            out.put(_END)
        except BaseException as error:  # noqa: BLE001  it is raised again where the batches are used
            out.put(_Failed(error))

    thread = threading.Thread(target=pull, name="fluxport-source", daemon=True)
    thread.start()
    ended = False
    try:
        while True:
            item = out.get()
            ended = item is _END or isinstance(item, _Failed)
            if isinstance(item, _Failed):
                raise item.error
            if item is _END:
                return
            yield item
            slots.release()
    finally:
        if not ended:
            stopped.set()
            slots.release()
            cancel()
        thread.join()


def _cut(chunks: Chunks) -> Chunks:
    """Small chunks joined, large ones cut; the very first bytes go out at once."""
    held = bytearray()
    first = True
    for chunk in chunks:
        view = memoryview(chunk)
        if first and view:
            first = False
            yield view[:CHUNK_MAX_BYTES]
            view = view[CHUNK_MAX_BYTES:]
        if held and len(held) + len(view) >= CHUNK_MIN_BYTES:
            filling = CHUNK_MIN_BYTES - len(held)
            held += view[:filling]
            yield bytes(held)
            held.clear()
            view = view[filling:]
        while len(view) >= CHUNK_MIN_BYTES:
            yield view[:CHUNK_MAX_BYTES]
            view = view[CHUNK_MAX_BYTES:]
        held += view
    if held:
        yield bytes(held)


def as_failure(error: BaseException) -> FluxportError:
    """The error itself if it is one of ours, else Broken: what an edge may tell."""
    from fluxport.errors import Broken

    if isinstance(error, FluxportError):
        return error
    if isinstance(error, MemoryError):
        return Broken("The process ran out of memory; ask for fewer columns or smaller cells.", code="out_of_memory")
    return Broken("The export failed for a reason of ours; the log has it under this request's id.", code="internal")
