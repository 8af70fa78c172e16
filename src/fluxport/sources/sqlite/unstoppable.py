"""Calls into a library that nothing interrupts, so that whoever waits for one can stop waiting.

Each call runs in a thread of its own. If ``leave`` is called meanwhile, ``call`` raises LeftBehind at once, and the
thread disposes of the library's objects when the library returns, or ends with the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class LeftBehind(Exception):
    """The call still runs."""


class Calls:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = False
        self._outcomes: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()  # of the last call
        self._dispose: Callable[[], None] | None = None

    def call(self, work: Callable[[], T]) -> T:
        with self._lock:
            outcomes = self._outcomes = SimpleQueue()
            self._running = True
        threading.Thread(target=self._run, args=(work, outcomes), name="sqlite-bulk", daemon=True).start()
        result: T
        result, error = outcomes.get()
        if error is not None:
            raise error
        return result

    def leave(self) -> None:
        """Make a pending ``call`` raise LeftBehind."""
        with self._lock:
            self._outcomes.put((None, LeftBehind()))

    def finally_(self, dispose: Callable[[], None]) -> None:
        """Call ``dispose`` as soon as no call runs any more; there must be no further one."""
        with self._lock:
            if self._running:
                self._dispose = dispose
                return
        dispose()

    def _run(self, work: Callable[[], Any], outcomes: SimpleQueue[tuple[Any, BaseException | None]]) -> None:
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = work(), None
        except BaseException as error:  # noqa: BLE001  raised again by the thread that waits
            outcome = None, error
        with self._lock:
            self._running = False
            dispose = self._dispose
        outcomes.put(outcome)
        if dispose is not None:
            dispose()
