"""Passes messages from asyncio to the synchronous stream. Back-pressure: ``put`` returns once less than AHEAD_BYTES is
queued, so that at most AHEAD_BYTES and one message are in memory."""

from __future__ import annotations

import asyncio
import contextlib
import queue

from fluxport.errors import Canceled, FluxportError

AHEAD_BYTES = 1 << 20


class Handover:
    """``put``, ``end`` and ``fail`` are for the event loop that created this object, ``take``, ``ready`` and ``close``
    for any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: queue.SimpleQueue[bytes | FluxportError | None] = queue.SimpleQueue()
        self._has_space = asyncio.Event()
        self._queued_bytes = 0  # changed only in the event loop
        self._closed = False

    async def put(self, message: bytes) -> None:
        """Queue a message, and wait until there is space for the next one."""
        self._queued_bytes += len(message)
        self._items.put(message)
        while self._queued_bytes >= AHEAD_BYTES:
            self._has_space.clear()
            await self._has_space.wait()

    def end(self) -> None:
        """Mark the end of the messages."""
        self._items.put(None)

    def fail(self, error: FluxportError) -> None:
        """Make ``take`` raise ``error`` instead of returning another message."""
        self._items.put(error)

    def take(self) -> bytes | None:
        """The next message, or None after the last; Canceled once closed."""
        item = None if self._closed else self._items.get()
        if self._closed:
            raise Canceled("The export was canceled.")
        if isinstance(item, FluxportError):
            raise item
        if item is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits for space
                self._loop.call_soon_threadsafe(self._subtract, len(item))
        return item

    def ready(self) -> bool:
        """Whether ``take`` returns at once."""
        return not self._items.empty()

    def _subtract(self, size: int) -> None:
        self._queued_bytes -= size
        self._has_space.set()

    def close(self) -> None:
        self._closed = True
        self._items.put(None)
