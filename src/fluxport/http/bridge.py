"""The border between asyncio and the synchronous stream: chunks are pulled in threads, and the generator is closed
however the client leaves.

Nothing here may be put behind a buffering middleware: a failure after the first byte must reach the server as an
exception, which then breaks the connection without the final chunk, so that no client takes a part for the whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fluxport.errors import Canceled, Unavailable
from fluxport.stages import Chunks
from fluxport.telemetry import metrics

_END = object()
SENT_BYTES = 64 << 10  # at a time, so that the time limit of a send is one of so many bytes


class StreamedFile(Response):
    """A response whose body is ``chunks``, pulled in ``threads``.

    The first chunk is pulled before the status is sent, so that a refusal is still a proper error answer; a length is
    told if ``headers`` have it. ``cancel``
    makes a pull that waits on the source come back; it is called when the client is gone.
    """

    def __init__(
        self,
        chunks: Chunks,
        *,
        headers: Mapping[str, str],
        threads: Executor,
        cancel: Callable[[], None],
        send_timeout_s: float,
        status: int = 200,
        measured: bool = True,
    ) -> None:
        super().__init__(status_code=status, headers=headers)
        if "Content-Length" not in headers:  # Starlette has put one of its own there
            del self.headers["content-length"]
        self._chunks = chunks
        self._threads = threads
        self._cancel = cancel
        self._send_timeout_s = send_timeout_s
        self._measured = measured  # whether this is the first byte of an export
        self._began = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(disconnect(receive))
        try:
            chunk = await self._pull(gone)
            if self._measured:
                metrics.first_byte(time.monotonic() - self._began)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while chunk is not _END:
                for at in range(0, len(chunk), SENT_BYTES):
                    piece = chunk[at : at + SENT_BYTES]
                    await self._send(send, {"type": "http.response.body", "body": piece, "more_body": True})
                chunk = await self._pull(gone)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Unavailable as error:
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, _fail, self._chunks, error))
            raise
        finally:
            gone.cancel()
            # Shielded: a cancelled request must still end its query before anything else happens.
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, self._chunks.close))

    async def _pull(self, gone: asyncio.Future[None]) -> Any:
        """The next chunk or _END; Canceled once the client is gone, the query ended and the pull come back."""
        pull = asyncio.get_running_loop().run_in_executor(self._threads, next, self._chunks, _END)
        try:
            both: set[asyncio.Future[Any]] = {pull, gone}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                raise Canceled("The client went away before the end.", code="client_gone")
            return pull.result()
        finally:
            if not pull.done():
                self._cancel()
                await asyncio.wait({pull})
                pull.exception()

    async def _send(self, send: Send, message: dict[str, Any]) -> None:
        try:
            await asyncio.wait_for(send(message), self._send_timeout_s)
        except TimeoutError:
            raise Unavailable(
                f"The client took next to nothing for {self._send_timeout_s:g} s; the export was ended.",
                code="client_stalled",
            ) from None


def _fail(chunks: Chunks, error: Unavailable) -> None:
    """End the stream with what ended it, so that it is told of the export."""
    with contextlib.suppress(Unavailable, StopIteration):
        chunks.throw(error)


async def disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
