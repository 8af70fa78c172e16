"""A server that shuts down in two steps: it drains, still answering but refusing new work, and then closes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn

from fluxport.jobs.transfers import Transfers

LOOK_EVERY_S = 0.1


class DrainingServer(uvicorn.Server):
    """After the first signal, new exports and ``/health/ready`` get 503 and running streams continue; once none is
    left, or after ``grace_s``, the server closes its socket and ends. A second signal ends it at once.

    ``drained`` is called at the first signal, ``hurried`` at each further one, ``close`` to end the streams that are
    left."""

    def __init__(
        self,
        config: uvicorn.Config,
        transfers: Transfers,
        grace_s: float,
        close: Callable[[], None],
        drained: Callable[[], Awaitable[None]],
        hurried: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._transfers = transfers
        self._grace_s = grace_s
        self._close = close
        self._drained = drained
        self._hurried = hurried
        self._until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Uvicorn's signal handler."""
        if self.should_exit:
            self.force_exit = True
            self._hurried()
        super().handle_exit(sig, frame)

    def left_s(self, most_s: float) -> float:
        """Seconds left of the grace period, from LOOK_EVERY_S to ``most_s``."""
        until = time.monotonic() if self._until is None else self._until
        return max(LOOK_EVERY_S, min(most_s, until - time.monotonic()))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._until = time.monotonic() + self._grace_s
        self._transfers.drain()
        await self._drained()
        while self._transfers.any_running and time.monotonic() < self._until and not self.force_exit:
            await asyncio.sleep(LOOK_EVERY_S)
        # Streams are aborted here: a task that the server cancels would look like a client that disconnected.
        await asyncio.to_thread(self._close)
        # The rest of the grace period is for other responses: stored files and events.
        self.config.timeout_graceful_shutdown = max(1, round(self._until - time.monotonic()))
        await super().shutdown(sockets)
