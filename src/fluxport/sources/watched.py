"""The common part of sources whose driver blocks: a thread of its own interrupts it when its time is over.

The reading thread waits inside the driver, where nothing checks the clock. The watching thread checks it, and calls
``interrupt``, which cancels the query on the server. Nothing ends a driver that does not return even then, except the
end of its process; so such a source runs in a separate one (separate.py), which reports the error and exits::

    reading thread    | open | read | read, waits in the driver ......................
    watching thread                  the time is over: interrupt() ... give_up(error), and the process ends
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fluxport.errors import FluxportError, Unavailable
from fluxport.sources import timeouts
from fluxport.sources.base import AGAIN_S, BaseSource
from fluxport.stages import Limits

CHECK_S = 0.2  # between two checks of the clock
STUCK_S = 1.0  # for the driver to return after the first interrupt


@dataclass
class _Wait:
    seconds: float
    late: Unavailable
    since: float  # on the clock of time.monotonic()


class WatchedSource(BaseSource):
    """A BaseSource that calls its driver in ``connecting()`` and ``waiting()``.

    ``give_up`` is called with the reason to abort if the driver does not return within STUCK_S of the first interrupt.
    """

    give_up: Callable[[FluxportError], None] | None = None

    def __init__(self, limits: Limits, connect_timeout_s: float | None, read_timeout_s: float | None) -> None:
        super().__init__(limits)
        self.connect_timeout_s = connect_timeout_s or timeouts.CONNECT_TIMEOUT_S
        self.read_timeout_s = read_timeout_s or timeouts.READ_TIMEOUT_S
        self.connected = False
        self.__wait: _Wait | None = None
        self.__watching = False
        self.__freed = threading.Event()

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Around the calls that connect and log in."""
        late = Unavailable(
            f"The database did not answer within {self.connect_timeout_s:g} s; check host, port and network.",
            code="source_unreachable",
        )
        with self.__during(self.connect_timeout_s, late):
            yield
        self.connected = True

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around calls that wait for the server, each for ``read_timeout_s`` at most; ``heard`` separates them."""
        late = Unavailable(
            f"The database sent nothing for {self.read_timeout_s:g} s; try again, or raise read-timeout.",
            code="source_timeout",
            again=False,
        )
        with self.__during(self.read_timeout_s, late):
            yield

    def heard(self) -> None:
        """Within ``waiting()``: the server has sent something, and the next call begins."""
        assert self.__wait is not None
        self.__wait.since = time.monotonic()

    def abort_reason(self) -> FluxportError | None:
        wait = self.__wait
        if (reason := super().abort_reason()) is not None:
            return reason
        return wait.late if wait is not None and time.monotonic() >= wait.since + wait.seconds else None

    def free(self) -> None:
        self.__freed.set()

    @contextmanager
    def __during(self, seconds: float, late: Unavailable) -> Iterator[None]:
        self.__wait = _Wait(seconds, late, time.monotonic())
        if not self.__watching:
            self.__watching = True
            threading.Thread(target=self.__watch, name="source-watch", daemon=True).start()
        yield
        self.check()
        self.__wait = None

    def __watch(self) -> None:
        first: float | None = None  # when the driver was first interrupted
        while not self.__freed.wait(CHECK_S if first is None else AGAIN_S):
            reason = self.abort_reason()
            if reason is None or not self.wake():
                first = None
                continue
            first = first or time.monotonic()
            if self.give_up is not None and time.monotonic() >= first + STUCK_S:
                self.give_up(reason)
