"""A server that ends in two steps: it first refuses new work while it still answers, then closes."""

from __future__ import annotations

import asyncio
import socket

import uvicorn

from fluxport.jobs.exports import Exports

LOOK_EVERY_S = 0.1


class DrainingServer(uvicorn.Server):
    """From the signal on, new exports and ``/health/ready`` are answered 503 and what streams goes on; once nothing
    streams, or after ``grace_s``, the server closes its socket and ends."""

    def __init__(self, config: uvicorn.Config, exports: Exports, grace_s: float) -> None:
        super().__init__(config)
        self._exports = exports
        self._grace_s = grace_s

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._grace_s
        self._exports.drain()
        while self._exports.streaming and loop.time() < deadline and not self.force_exit:
            await asyncio.sleep(LOOK_EVERY_S)
        # What is left of the grace is for answers that are not streams: files on their way, events.
        self.config.timeout_graceful_shutdown = max(1, round(deadline - loop.time()))
        await super().shutdown(sockets)
