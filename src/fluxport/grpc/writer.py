"""Sends the responses of one call, as its client accepts them (see answers.py)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from fluxport.grpc import export_pb2 as pb
from fluxport.grpc.answers import Answers
from fluxport.jobs.store import Record

SEND_TIMEOUT_S = 30.0
# With auto, the longest time that a running task sends no response to a client that sends rows without a pause.
HOLD_S = 2.0


class ResponseWriter:
    """One response at a time. ``answers`` is what the client accepts; with auto, responses are held from ``begin`` to
    ``release``, at most HOLD_S from ``limit_hold``, and only the last is sent if the requests end before."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._lock = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None
        self._release_at: asyncio.TimerHandle | None = None
        self._held: pb.ExportResponse | None = None
        self.holding = False
        self.only_last = False
        self.answers: Answers = "stream"
        self.task_id = ""

    def begin(self) -> None:
        self.holding = self.answers == "auto"
        self.only_last = self.answers == "final"

    def limit_hold(self) -> None:
        """The client no longer waits for this service: if it has not ended its requests in HOLD_S, release."""
        if self.holding:
            self._release_at = asyncio.get_running_loop().call_later(HOLD_S, self.release)

    def release(self) -> None:
        """Send the response that is held, and those to come."""
        held = self._held
        self._hold_no_more()
        if held is not None:
            self.progress(held)

    @contextlib.contextmanager
    def pausing(self, most_s: float) -> Iterator[None]:
        """While the next message is read: release if it takes more than ``most_s``."""
        pause = asyncio.get_running_loop().call_later(most_s, self.release) if self.holding else None
        try:
            yield
        finally:
            if pause is not None:
                pause.cancel()

    def progress(self, message: pb.ExportResponse) -> None:
        """Send a progress response. It is skipped while the previous one is still being sent, so that a client that
        does not read blocks nothing."""
        if self.holding:
            self._held = message
        elif not self.only_last and (self._sending is None or self._sending.done()):
            self._sending = asyncio.ensure_future(self._send(message))
            self._sending.add_done_callback(observed)

    def requests_ended(self) -> None:
        """If responses are held until now, only the last will be sent, however long the task takes."""
        self.only_last = self.only_last or self.holding
        self._hold_no_more()

    async def received(self, record: Record) -> None:
        """Confirm the receipt of all requests, by a response or the call's headers; raises if the call has ended."""
        if self.only_last:
            await self._whole(self._context.send_initial_metadata, (("x-fluxport-task-id", record.id),))
        else:
            await self._send(pb.ExportResponse(task_id=record.id, status=pb.TASK_STATUS_UPLOADING))

    async def last(self, message: pb.ExportResponse, *, failed: bool = False) -> None:
        """The last response. With ``failed``, an error status with the same content follows, so it is not sent to a
        client that accepts only one, and its own failure is ignored. Nothing is being sent any more on return."""
        self._hold_no_more()
        if not failed:
            await self._send(message)
        elif self.answers != "final":
            with contextlib.suppress(Exception):
                await self._send(message)
        else:
            async with self._lock:
                pass

    def _hold_no_more(self) -> None:
        if self._release_at is not None:
            self._release_at.cancel()
        self._release_at = self._held = None
        self.holding = False

    async def _send(self, message: pb.ExportResponse) -> None:
        await self._whole(self._context.write, message)

    async def _whole(self, send: Callable[[Any], Awaitable[None]], what: Any) -> None:
        """Complete the sending even if the sender is canceled: a canceled one blocks all that follows it."""

        async def sent() -> None:
            async with asyncio.timeout(SEND_TIMEOUT_S), self._lock:
                await send(what)

        sending = asyncio.ensure_future(sent())
        sending.add_done_callback(observed)
        await asyncio.shield(sending)


def observed(task: asyncio.Future[Any]) -> None:
    """A callback that retrieves the task's exception, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
