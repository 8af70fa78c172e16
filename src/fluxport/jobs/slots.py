"""Direct streams that read from one connection: so many at once, the others in line.

A slot is the database's, not the reader's: where others are in line, what a reader is too slow to take goes into the
spool, and the slot is free as soon as the source has come to its end. A reader for whom the spool is full has to take a
least rate while others are in line, else its stream ends with an error.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError

from fluxport.errors import Canceled, FluxportError, Unavailable
from fluxport.jobs.spool import Spool, Spooled, whole
from fluxport.stages import Chunks

log = logging.getLogger("fluxport.slots")

LOOK_S = 0.25
SLOW_S = 1.0
RATE_OVER_S = 5.0


class Slots:
    """So many at once. ``wait_s`` is how long one may be in line, 0 refuses at once; ``late`` is the error of those."""

    def __init__(self, most: int, wait_s: float, late: Callable[[], FluxportError]) -> None:
        self._late = late
        self._free = most
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._line: deque[tuple[Future[None], float]] = deque()
        self._watched = False
        self._readings: set[Reading] = set()

    def enter(self) -> Future[None]:
        """Done when a slot is the caller's, who then calls :meth:`leave`, or an error after ``wait_s``.."""
        turn: Future[None] = Future()
        with self._lock:
            if self._free:
                self._free -= 1
                turn.set_running_or_notify_cancel()
                turn.set_result(None)
                return turn
            if self._wait_s > 0:
                self._line.append((turn, time.monotonic() + self._wait_s))
                if not self._watched:
                    self._watched = True
                    threading.Thread(target=self._watch, name="fluxport-slots", daemon=True).start()
                return turn
        self._press()  # the next one finds room, then
        turn.set_exception(self._late())
        return turn

    def leave(self) -> None:
        with self._lock:
            while self._line:
                turn, _ = self._line.popleft()
                if turn.set_running_or_notify_cancel():
                    break
            else:
                self._free += 1
                return
        turn.set_result(None)

    def give_up(self, turn: Future[None]) -> None:
        """Leave the line, or the slot if it is there by now."""
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
        """While there is a line: press the slow, and refuse who has waited too long."""
        tick = threading.Event()
        while True:
            tick.wait(LOOK_S)
            with self._lock:
                now = time.monotonic()
                late = [turn for turn, until in self._line if until <= now and turn.set_running_or_notify_cancel()]
                self._line = deque((t, until) for t, until in self._line if until > now and not t.cancelled())
                self._watched = bool(self._line)
                over = not self._watched
            for turn in late:
                turn.set_exception(self._late())
            if over:
                return
            self._press()

    def _press(self) -> None:
        with self._lock:
            readings = list(self._readings)
        for reading in readings:
            reading.press()


class Reading:
    """One stream between its source and its reader.

    ``source`` makes its chunks, ``stop`` makes a pull of them come back with an error; ``check`` may raise before each
    chunk from the spool. One thread at a time pulls the source: the reader's, until somebody in line has found it slow,
    then one of its own that fills the spool.
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
        self._make = source
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
        self.sent_bytes: int | None = None  # to a client that was there, where its API counts them
        self.ended: Future[None] = Future()  # done once the stream was ended from outside, whatever its reader does
        # How long the reader was waited for, and since when it is; how long the source.
        self._reader_s = self._source_s = 0.0
        self._since: float | None = None
        self._pressed_at = self._rate_from = 0.0
        self._rate_bytes = 0

    def enter(self) -> Future[None]:
        """Done when it is this stream's turn at the source."""
        if self._turn is None:
            self._turn = self._slots.enter()
        return self._turn

    def end(self) -> None:
        """What is pulled or waited for comes back with an error."""
        self._break(Canceled("The export was ended.", code="canceled"))

    def _break(self, error: FluxportError) -> None:
        self._error = self._error or error
        self.spooled.fail(error)
        self._stop()
        with contextlib.suppress(InvalidStateError):
            self.ended.set_result(None)

    def whole(self) -> Chunks:
        """The file after all of it has come, as :func:`fluxport.jobs.spool.whole` has it."""
        return whole(self._alone(), self.spooled, self._check)

    def length(self) -> int:
        """Of the whole file, in bytes."""
        return self.spooled.size_bytes

    def _alone(self) -> Chunks:
        with self._entered() as source:
            yield from source

    @contextlib.contextmanager
    def _entered(self) -> Iterator[Chunks]:
        try:
            self.enter().result()
        except CancelledError:
            raise Canceled("The client went away before the end.", code="client_gone") from None
        try:
            with contextlib.closing(self._make()) as source:
                yield source
        finally:
            self._slots.leave()

    def chunks(self) -> Chunks:
        """The file as it comes."""
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
        if self._error is not None:
            raise self._error
        began = time.monotonic()
        if self._since is not None:
            self._reader_s += began - self._since
        self._since = None
        assert self._source is not None
        chunk = next(self._source, None)
        self._since = time.monotonic()
        self._source_s += self._since - began
        return chunk

    # -- what those in line do -------------------------------------------------------------------------------------

    def press(self) -> None:
        """Others wait for the slot. Called again and again while they do."""
        now = time.monotonic()
        with self._state:
            if self._over:
                return
            if self._filler is None:
                if self._is_slow(now):
                    log.info("a slow reader: the rest of its file goes to disk")
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
            self._break(
                Unavailable(
                    f"The client took less than {self._least_bytes_s:,} bytes a second while others waited for the "
                    "database and nothing more of its file could be set aside; the export was ended.",
                    code="client_slow",
                )
            )
        self._rate_from, self._rate_bytes = now, taken

    def _fill(self) -> None:
        with self._pulling:  # from here on the reader's thread leaves the source alone
            pass
        try:
            with self._entry:
                assert self._source is not None
                for chunk in self._source:
                    self.spooled.write(chunk, wait=True)
            self.spooled.end()
        except BaseException as error:  # noqa: BLE001  it is raised again where the chunks are pulled
            self.spooled.fail(error)
