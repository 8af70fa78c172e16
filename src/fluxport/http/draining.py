"""A server that ends in two steps: it first refuses new work while it still answers, then closes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from fluxport.jobs.exports import Exports

LOOK_EVERY_S = 0.1


class DrainingServer(uvicorn.Server):
    """From the signal on, new exports and ``/health/ready`` are answered 503 and what streams goes on; once nothing
    streams, or after ``grace_s``, the server closes its socket and ends. A second signal ends it at once.

    ``drained`` is called at the first signal, ``hurried`` at each that follows."""

    def __init__(
        self,
        config: uvicorn.Config,
        exports: Exports,
        grace_s: float,
        drained: Callable[[], None],
        hurried: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._exports = exports
        self._grace_s = grace_s
        self._drained = drained
        self._hurried = hurried
        self._until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal does."""
        if self.should_exit:
            self.force_exit = True
            self._hurried()
        super().handle_exit(sig, frame)

    def left_s(self, most_s: float) -> float:
        """What is left of the grace, a moment at least."""
        until = time.monotonic() if self._until is None else self._until
        return max(LOOK_EVERY_S, min(most_s, until - time.monotonic()))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._until = time.monotonic() + self._grace_s
        self._exports.drain()
        self._drained()
        while self._exports.streaming and time.monotonic() < self._until and not self.force_exit:
            await asyncio.sleep(LOOK_EVERY_S)
        # Ended here, as a task that the server cancels looks like a client that left.
        await asyncio.to_thread(self._exports.close)
        # What is left of the grace is for answers that are not streams: files on their way, events.
        self.config.timeout_graceful_shutdown = max(1, round(self._until - time.monotonic()))
        await super().shutdown(sockets)
