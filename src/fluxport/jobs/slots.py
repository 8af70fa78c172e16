"""The slots of one connection: how many direct streams may read from it at once; the others wait in a queue.

A stream holds a slot only as long as its source is read. If others wait and its client is slow, the rest of the file is
written to the spool, and the slot is free as soon as the source is exhausted. If the spool is full too, the client must
read at a minimum rate while others wait, or its stream is aborted.

    source -> reader -> client                 a fast client, or no one waits
    source -> filler thread -> spool -> client    a slow client while others wait: the slot is free at the source's end
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from functools import partial

from fluxport.errors import Canceled, FluxportError, TooMany, Unavailable
from fluxport.jobs.catalog import Catalog
from fluxport.jobs.spool import Spool, Spooled, whole
from fluxport.stages import Chunks

log = logging.getLogger("fluxport.slots")

LOOK_S = 0.25
SLOW_S = 1.0
RATE_OVER_S = 5.0


class Slots:
    """At most ``most`` slots are held at once. ``wait_s`` is the longest wait in the queue (0: refuse at once), and
    ``late`` returns the error for a caller that waited too long."""

    def __init__(self, most: int, wait_s: float, late: Callable[[], FluxportError]) -> None:
        self._late = late
        self._free = most
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[None], float]] = deque()
        self._watched = False
        self._readings: set[Reading] = set()

    def enter(self) -> Future[None]:
        """A future, done when the caller has a slot, to be freed by :meth:`leave`; fails with ``late()`` after
        ``wait_s``."""
        turn: Future[None] = Future()
        with self._lock:
            if self._free:
                self._free -= 1
                turn.set_running_or_notify_cancel()
                turn.set_result(None)
                return turn
            if self._wait_s > 0:
                self._waiting.append((turn, time.monotonic() + self._wait_s))
                if not self._watched:
                    self._watched = True
                    threading.Thread(target=self._watch, name="fluxport-slots", daemon=True).start()
                return turn
        self._press_readers()  # a slow reader may free its slot for the next caller
        turn.set_exception(self._late())
        return turn

    def leave(self) -> None:
        with self._lock:
            while self._waiting:
                turn, _ = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    break
            else:
                self._free += 1
                return
        turn.set_result(None)

    def cancel(self, turn: Future[None]) -> None:
        """Leave the queue, or free the slot if the caller already has one."""
        if not turn.cancel() and turn.exception() is None:
            self.leave()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        self.enter().result()
        try:
            yield
        finally:
            self.leave()

    def add(self, reading: Reading) -> None:
        with self._lock:
            self._readings.add(reading)

    def discard(self, reading: Reading) -> None:
        with self._lock:
            self._readings.discard(reading)

    def _watch(self) -> None:
        """While streams wait: spool slow readers' files, and refuse streams that have waited too long."""
        tick = threading.Event()
        while True:
            tick.wait(LOOK_S)
            with self._lock:
                now = time.monotonic()
                late = [turn for turn, until in self._waiting if until <= now and turn.set_running_or_notify_cancel()]
                self._waiting = deque((t, until) for t, until in self._waiting if until > now and not t.cancelled())
                self._watched = bool(self._waiting)
                idle = not self._watched
            for turn in late:
                turn.set_exception(self._late())
            if idle:
                return
            self._press_readers()

    def _press_readers(self) -> None:
        with self._lock:
            readings = list(self._readings)
        for reading in readings:
            reading.press()


def connection_slots(catalog: Catalog, wait_s: float) -> dict[str, Slots]:
    """The slots of each connection. The embedded sensor store reads in few threads: a stream waiting for a slot there
    could block the one that holds it, so it is refused at once."""
    embedded = catalog.sensors.connection if catalog.sensors_embedded and catalog.sensors is not None else None
    return {
        name: Slots(most, 0.0 if name == embedded else wait_s, partial(_busy, name))
        for name, most in catalog.queries_max.items()
    }


def _busy(connection: str) -> TooMany:
    return TooMany(
        f"Connection {connection!r} is running its maximum number of queries; retry in a moment.",
        code="connection_busy",
        retry_after_s=10,
    )


class Reading:
    """One stream between its source and its reader.

    ``source`` opens the chunks, ``stop`` makes a pending pull of them raise; ``check`` may raise before each chunk from
    the spool. Only one thread at a time pulls the source: the reader's, until a waiting stream finds the reader slow,
    then a thread that fills the spool.
    """

    def __init__(
        self,
        slots: Slots,
        spool: Spool,
        source: Callable[[], Chunks],
        stop: Callable[[], None],
        check: Callable[[], None],
    ) -> None:
        self._slots = slots
        self._open = source
        self._stop = stop
        self._check = check
        self.spooled = Spooled(spool)
        self._least_bytes_s = spool.options.least_bytes_s
        self._turn: Future[None] | None = None
        self._pulling = threading.Lock()
        self._state = threading.Lock()
        self._source: Chunks | None = None
        self._filler: threading.Thread | None = None
        self._over = False
        self._error: FluxportError | None = None
        self.sent_bytes: int | None = None  # to a connected client, if the API counts them
        self.ended: Future[None] = Future()  # done once the stream is aborted, even if its reader does not pull
        # Seconds spent waiting for the reader and for the source, and when the current wait for the reader began.
        self._reader_s = self._source_s = 0.0
        self._since: float | None = None
        self._pressed_at = self._rate_from = 0.0
        self._rate_bytes = 0

    def enter(self) -> Future[None]:
        """A future, done when this stream may read its source."""
        if self._turn is None:
            self._turn = self._slots.enter()
        return self._turn

    def end(self) -> None:
        """Abort the stream: pending pulls and waits raise."""
        self.fail(Canceled("The export was aborted.", code="canceled"))

    def fail(self, error: FluxportError) -> None:
        """As :meth:`end`, with this error."""
        self._error = self._error or error
        self.spooled.fail(error)
        self._stop()
        with contextlib.suppress(InvalidStateError):
            self.ended.set_result(None)

    def check_running(self) -> None:
        """Raise the error with which the stream was aborted, if it was."""
        if self._error is not None:
            raise self._error

    def whole(self) -> Chunks:
        """The file once it is complete; see :func:`fluxport.jobs.spool.whole`."""
        return whole(self._alone(), self.spooled, self._check)

    def length(self) -> int:
        """The length of the whole file in bytes."""
        return self.spooled.size_bytes

    def _alone(self) -> Chunks:
        with self._entered() as source:
            yield from source

    @contextlib.contextmanager
    def _entered(self) -> Iterator[Chunks]:
        try:
            self.enter().result()
        except CancelledError:
            raise Canceled("The client disconnected before the end.", code="client_gone") from None
        try:
            with contextlib.closing(self._open()) as source:
                yield source
        finally:
            self._slots.leave()

    def chunks(self) -> Chunks:
        """The file's chunks, while it is written."""
        entered = contextlib.ExitStack()
        self._source = entered.enter_context(self._entered())
        self._entry = entered
        self._slots.add(self)
        try:
            while True:
                with self._pulling:
                    if self._filler is not None:
                        break
                    chunk = self._timed()
                if chunk is None:
                    return
                yield chunk
            yield from self.spooled.chunks(self._check)
        except BaseException:
            self.end()
            raise
        finally:
            self._slots.discard(self)
            with self._state:
                self._over = True
            if self._filler is None:
                entered.close()
            else:
                self._filler.join()
                self.spooled.close()

    def _timed(self) -> bytes | memoryview | None:
        self.check_running()
        began = time.monotonic()
        if self._since is not None:
            self._reader_s += began - self._since
        self._since = None
        assert self._source is not None
        try:
            chunk = next(self._source, None)
        except FluxportError:
            if self._error is not None:  # the reason why the source was stopped
                raise self._error from None
            raise
        self._since = time.monotonic()
        self._source_s += self._since - began
        return chunk

    # -- called while other streams wait ---------------------------------------------------------------------------

    def press(self) -> None:
        """Called repeatedly while others wait for the slot: spool the file of a slow reader, or enforce its rate."""
        now = time.monotonic()
        with self._state:
            if self._over:
                return
            if self._filler is None:
                if self._is_slow(now):
                    log.info("slow client: the rest of its file is spooled to disk")
                    self._filler = threading.Thread(target=self._fill, name="fluxport-spool", daemon=True)
                    self._filler.start()
                return
            self._hold_to_rate(now)

    def _is_slow(self, now: float) -> bool:
        since = self._since
        waits_s = now - since if since is not None else 0.0
        total_s = self._reader_s + waits_s
        return waits_s > SLOW_S or (total_s > SLOW_S and total_s > self._source_s)

    def _hold_to_rate(self, now: float) -> None:
        taken = self.spooled.taken_bytes
        if not self.spooled.full or now - self._pressed_at > 4 * LOOK_S:
            self._rate_from, self._rate_bytes = now, taken
        self._pressed_at = now
        over_s = now - self._rate_from
        if over_s < RATE_OVER_S:
            return
        if taken - self._rate_bytes < self._least_bytes_s * over_s:
            self.fail(
                Unavailable(
                    f"The client read less than {self._least_bytes_s:,} bytes a second while others waited for the "
                    "database and no more of its file could be spooled; the export was aborted.",
                    code="client_slow",
                )
            )
        self._rate_from, self._rate_bytes = now, taken

    def _fill(self) -> None:
        with self._pulling:  # wait until the reader's thread has finished its last pull of the source
            pass
        try:
            with self._entry:
                assert self._source is not None
                for chunk in self._source:
                    self.spooled.write(chunk, wait=True)
            self.spooled.end()
        except BaseException as error:  # noqa: BLE001  raised again where the chunks are pulled
            self.spooled.fail(error)
