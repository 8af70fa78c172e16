"""Passes batches from the thread of a DoPut call to the thread that runs the push.

pyarrow cannot interrupt a read, and a call that returns during one crashes the process. So only the call's own thread
reads, one batch whenever it is requested, and returns after its last read; the push waits ``idle_s`` for each batch:

    call:  serve() ── wait ── read ───────── wait ── read ────────────── wait ── return
    push:             take() ──── encode, store ── take() ── encode, store ── end()

A push that has failed frees its slot at once. Its call ends when the client sends a batch, ends the stream or
disconnects.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Generic, TypeVar

from fluxport.errors import Canceled
from fluxport.jobs.pushes import idle

T = TypeVar("T")


class Handover(Generic[T]):
    """``serve`` is for the call's thread, ``take`` and ``end`` for the push, ``close`` for any thread."""

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._items: queue.SimpleQueue[T | Exception | None] = queue.SimpleQueue()
        self._closed = False

    def serve(self, read: Callable[[], T | None]) -> None:
        """Call ``read`` for each ``take``, until ``end``."""
        while self._requests.get():
            try:
                item: T | Exception | None = read()
            except Exception as error:  # noqa: BLE001  take raises it
                item = error
            self._items.put(item)

    def take(self) -> T | None:
        """The next batch, or None after the last. Raises what ``read`` raised, TimedOut after ``idle_s``, or Canceled
        once closed; then it may not be called again."""
        if self._closed:
            raise _canceled()
        self._requests.put(True)
        try:
            item = self._items.get(timeout=self._idle_s)
        except queue.Empty:
            raise idle(self._idle_s) from None
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        """Make ``take`` raise Canceled, now and later."""
        self._closed = True
        self._items.put(_canceled())

    def end(self) -> None:
        """Make ``serve`` return after the current read."""
        self._requests.put(False)


def _canceled() -> Canceled:
    return Canceled("The export was canceled.")
