"""Where rows become bytes: ``stream(source, steps, encoder, compress, limits, tally)``, or ``parts`` if the rows of one
source become several files.

Two threads per export: one pulls the source, the caller's runs everything after it, and pulls the source too if a
second thread would cost more than it gains. An encoder or a compressor may use a helper thread. Only a few
batches and one chunk are in memory at a time:

    source ==batches==> ahead() (thread) ==> steps ==> encoder ==bytes==> compress ==> _cut() ==chunks==> sink or client
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
from fluxport.stages import FIELD_TYPE, PROCESSORS, Batches, Chunks, Compress, Encoder, Limits, Source, Step
from fluxport.telemetry import events, traces
from fluxport.telemetry.logs import Ids

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_MIN_BYTES = 64 << 10
CHUNK_MAX_BYTES = 1 << 20
BATCHES_AHEAD = 1


@dataclass
class Tally:
    """Counts of a stream so far; readable from any thread while it runs, final once ``complete``.

    ``hashed`` may be turned off before the stream begins if a sink hashes the same bytes. ``ids``, set before that too,
    are those of its log lines and spans.
    """

    rows: int = 0
    size_bytes: int = 0
    columns: list[tuple[str, str]] = field(default_factory=list)
    truncated: bool = False
    complete: bool = False
    hashed: bool = True
    ids: Ids = Ids()  # noqa: RUF009  immutable
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

    The source is always closed, however this generator ends. It returns normally only if the source was exhausted and
    the encoder closed the file; only then is ``tally.complete`` set.
    """
    limits = limits or Limits()
    tally = tally if tally is not None else Tally()
    with _rows(source, steps, limits, tally) as (schema, batches):
        with _encoding(tally, {}):
            for chunk in _file(encoder, compress, schema, batches):
                tally.add(chunk)
                _check_bytes(tally, limits.bytes_max)
                yield chunk
        tally.complete = True


@contextmanager
def _rows(source: Source, steps: Sequence[Step], limits: Limits, tally: Tally) -> Iterator[tuple[pa.Schema, Batches]]:
    """Schema and batches after the last step; closes the source on every exit."""
    with traces.span("read", tally.ids.traceparent) as span:
        try:
            schema = source.schema
            events.emit("StreamStarted", tally.ids)
            applies = []
            for step in steps:
                schema, apply = step(schema)
                applies.append(apply)
            tally.columns = [(f.name, type_name(f)) for f in schema]
            sent = getattr(source, "sent", False)
            # Closed from the last generator to the first, then the query ends on the server.
            with (
                closing(_pulled(source)) as pulled,
                closing(_counted(pulled, applies, limits, tally, to_the_end=sent)) as batches,
            ):
                yield schema, batches
        finally:
            source.close()
            span.set({"fluxport.rows": tally.rows})


@contextmanager
def _encoding(tally: Tally, attributes: traces.Attributes) -> Iterator[None]:
    """The log lines and the span of one file."""
    events.emit("WriterInitialized", tally.ids)
    with traces.span("encode", tally.ids.traceparent, attributes):
        yield
    events.emit("FileFinalized", tally.ids, bytes=tally.size_bytes)


def _pulled(source: Source) -> Batches:
    """The batches, pulled by a separate thread; except from a served source on at most two processors: its server and
    the encoder's helper occupy one, and threads taking turns on the other would cost a tenth of the time."""
    batches = source.batches()
    if PROCESSORS <= 2 and getattr(source, "served", False):
        return batches
    return ahead(batches, BATCHES_AHEAD, source.close)


def _file(encoder: Encoder, compress: Compress | None, schema: pa.Schema, batches: Batches) -> Chunks:
    """One file of all ``batches``, compressed and cut into chunks."""
    with closing(encoder.encode(schema, batches)) as encoded:
        if compress is None:
            yield from _cut(encoded)
        else:
            with closing(compress(encoded)) as compressed:
                yield from _cut(compressed)


def _check_bytes(tally: Tally, bytes_max: int | None) -> None:
    if bytes_max is not None and tally.size_bytes > bytes_max:
        raise LimitExceeded(
            f"The file exceeds the limit of {bytes_max:,} bytes; export fewer rows or raise the limit.",
            code="too_many_bytes",
        )


@dataclass(frozen=True)
class Split:
    """Where a file ends and the next one begins: after exactly ``rows``, or before it would exceed ``size_bytes``.

    ``size_bytes`` counts stored bytes, after compression. To estimate them before a row is written, each batch is first
    encoded as a file of its own: these files together are no smaller than one file of all batches, if it is not
    compressed; MIXED_MAX is how much smaller they are taken to be if it is. Only FILLED of the limit is used. A file
    that still exceeds the limit fails the export. Where files end depends on the rows and batches alone, never on how
    far a compressor has got.
    """

    rows: int | None = None
    size_bytes: int | None = None


FILLED = 63 / 64
# Rows of different content share one Huffman table in a compressed file: numbers, words and CJK characters in turn made
# files 1.23 times as large as their batches alone.
MIXED_MAX = 1.25


@dataclass(frozen=True, eq=False)
class Part:
    """One of several files, numbered from 1; pull ``chunks`` to its end before the next part."""

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
    """The rows of one run of ``source`` as several files, each complete in itself; one file if there are no rows.

    ``encoder`` returns a new encoder for each file, which reports its changes to ``findings``. ``limits`` and ``tally``
    are those of all files together. As in :func:`stream`, the source is always closed, and ``tally.complete`` is set
    only after the last file. A part that is not pulled to its end is the last one.
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
            file_tally = Tally(columns=tally.columns, hashed=tally.hashed)
            filling = _filling(rest, split, alone, file_tally, 1.0 if compress is None else MIXED_MAX)
            with (
                _encoding(tally, {"fluxport.part": number}),
                closing(_file(encoder(findings), compress, schema, filling)) as chunks,
            ):
                yield Part(number, file_tally, _part(chunks, file_tally, split, tally, limits))
            if not file_tally.complete:
                return
            number += 1
        tally.complete = True


def _part(chunks: Chunks, file_tally: Tally, split: Split, tally: Tally, limits: Limits) -> Chunks:
    for chunk in chunks:
        file_tally.add(chunk)
        tally.size_bytes += len(chunk)
        _check_bytes(file_tally, split.size_bytes)
        _check_bytes(tally, limits.bytes_max)
        yield chunk
    file_tally.complete = True


class _Rest:
    """The batches not yet written; rows that do not fit into one file are put back for the next."""

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


def _filling(
    rest: _Rest, split: Split, alone: Callable[[pa.RecordBatch], int], file_tally: Tally, mixed: float
) -> Batches:
    """The batches of one file; ``file_tally.rows`` counts their rows. Several batches together are at most ``mixed``
    times as large as alone."""
    room = None if split.size_bytes is None else int(split.size_bytes * FILLED)
    used = 0
    while (batch := rest.take()) is not None:
        fits = batch if split.rows is None else batch.slice(0, split.rows - file_tally.rows)
        if room is not None:
            fits, size = _fitting(fits, int(room / mixed) - used if used else room, alone)
            used += size
        ends = fits.num_rows < batch.num_rows
        if ends:
            rest.put_back(batch.slice(fits.num_rows))
        if fits.num_rows:
            file_tally.rows += fits.num_rows
            given = [fits]
            del batch, fits
            yield given.pop()  # held by the consumer alone
        elif not file_tally.rows:
            raise LimitExceeded(
                f"A file of one row is larger than 'max_bytes_per_file', {split.size_bytes:,}; raise it.",
                code="row_too_large",
            )
        if ends or file_tally.rows == split.rows:
            return


def _fitting(batch: pa.RecordBatch, room: int, alone: Callable[[pa.RecordBatch], int]) -> tuple[pa.RecordBatch, int]:
    """About as many of the first rows of ``batch`` as fit into a file of ``room`` bytes, and the file's size."""
    rows = batch.num_rows
    while rows:
        fits = batch.slice(0, rows)
        size = alone(fits)
        if size <= room:
            return fits, size
        rows = min(rows - 1, rows * max(room, 0) // size)
    return batch.slice(0, 0), 0


def type_name(field: pa.Field) -> str:
    """The database's name of the type of a column, else Arrow's."""
    named: bytes | None = (field.metadata or {}).get(FIELD_TYPE)
    return named.decode() if named else str(field.type)


def _counted(
    batches: Batches,
    applies: Sequence[Callable[[pa.RecordBatch], pa.RecordBatch]],
    limits: Limits,
    tally: Tally,
    *,
    to_the_end: bool,
) -> Batches:
    """The batches after all steps, counted before they are encoded, within the limits. ``to_the_end``: rows beyond
    ``limits.rows`` are read and dropped."""
    from fluxport.sources.errors import check_cells

    for batch in batches:
        check_deadline(tally, limits)
        if tally.truncated:
            continue
        check_cells(batch, limits.cell_bytes_max, tally.rows)
        out = batch
        if limits.rows is not None and tally.rows + batch.num_rows > limits.rows:
            out = batch.slice(0, limits.rows - tally.rows)
            tally.truncated = True
        if limits.rows_max is not None and tally.rows + out.num_rows > limits.rows_max:
            raise LimitExceeded(
                f"The result has more than the {limits.rows_max:,} rows allowed; narrow the query or raise the limit.",
                code="too_many_rows",
            )
        for apply in applies:
            out = apply(out)
        tally.rows += out.num_rows
        if out.num_rows:
            events.emit("BatchProcessed", tally.ids, rows=out.num_rows)
            counted = [out]
            del batch, out
            yield counted.pop()  # held by the consumer alone
        if tally.truncated and not to_the_end:
            break
    events.emit("StreamCompleted", tally.ids, rows=tally.rows)


def check_deadline(tally: Tally, limits: Limits) -> None:
    if limits.deadline_s is not None and time.monotonic() > tally.started + limits.deadline_s:
        raise TimedOut(
            f"The export exceeded its time limit of {limits.deadline_s:g} s and was aborted; export fewer rows.",
            code="deadline",
            again=False,
        )


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def ahead(batches: Batches, depth: int, cancel: Callable[[], None]) -> Batches:
    """``batches``, pulled by a separate thread, at most ``depth`` of them ahead.

    ``cancel`` makes a pending pull of the source return; it is called if this generator is closed early. The thread has
    ended when this generator has. A batch is held by the consumer alone.
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
                    del batch
            finally:
                batches.close()
            out.put(_END)
        except BaseException as error:  # noqa: BLE001  raised again where the batches are used
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
            pulled = [item]
            del item
            yield pulled.pop()
            slots.release()
    finally:
        if not ended:
            stopped.set()
            slots.release()
            cancel()
        thread.join()


def _cut(chunks: Chunks) -> Chunks:
    """Small chunks joined, large ones cut; the first bytes are yielded at once."""
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
    """The error to show to callers: ``error`` itself if it is a FluxportError, else Broken."""
    from fluxport.errors import Broken

    if isinstance(error, FluxportError):
        return error
    if isinstance(error, MemoryError):
        return Broken("The process ran out of memory; select fewer columns or smaller cells.", code="out_of_memory")
    return Broken("The export failed with an internal error; see the log under this request's id.", code="internal")
