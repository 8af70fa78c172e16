"""The bridge from the synchronous stream to asyncio: chunks are pulled in threads, and the generator is always closed,
however the client disconnects.

    event loop                        threads
    wait for the export's turn
    pull ---------------------------> next(chunks): source, encoder, compressor
      | http.disconnect: cancel() --> the query is interrupted, next() returns
    send, 256 KiB at a time <-------- a chunk; after the first, the next one is pulled meanwhile
    when all is sent ---------------> next(chunks): the end, where the outcome is recorded
    finally ------------------------> chunks.close() before the end: the query ends, the outcome is recorded

No buffering middleware may wrap these responses: a failure after the first byte must reach the server as an exception.
The server then breaks the connection without the final chunk, so that no client takes a partial file for a whole one.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fluxport.auth.caller import Caller
from fluxport.errors import Canceled, FluxportError, Unavailable
from fluxport.http.connections import unsent
from fluxport.http.responses import file_headers
from fluxport.http.routing import HeadersOnly, is_head
from fluxport.jobs.slots import Reading
from fluxport.jobs.streams import Streams
from fluxport.pipeline import CHUNK_MIN_BYTES
from fluxport.spec import ExportSpec
from fluxport.stages import Chunks
from fluxport.telemetry import metrics

_END = memoryview(b"")
# The client must read so many bytes within the time limit of a send. If the server does not say how many are unsent, no
# send has more.
READ_BYTES = 64 << 10
SENT_BYTES = 256 << 10


class StreamedFile(Response):
    """A response whose body is ``chunks``, pulled in ``threads``.

    The first non-empty chunk is pulled before the status is sent, so that an early error still gets a proper error
    response. Later ones are pulled while the chunk before is sent: an export yields an empty chunk before its end, and
    what follows that is pulled once everything has been sent. Content-Length comes from ``headers`` or from ``length``,
    which is called after that first pull. For an export, ``reading`` holds its turn and is completed when the export is
    aborted from outside. ``cancel`` interrupts a pull that waits on the source; it is called when the client has
    disconnected.
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
        reading: Reading | None = None,
        length: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(status_code=status, headers=headers)
        if "Content-Length" not in headers:  # Starlette has set its own
            del self.headers["content-length"]
        self._chunks = chunks
        self._threads = threads
        self._cancel = cancel
        self._send_timeout_s = send_timeout_s
        self._reading = reading
        self._length = length
        self._began = time.monotonic()
        self._begun = False
        self._coming: asyncio.Future[Any] | None = None  # the next chunk, pulled while the last one is sent
        self._after: Any = None  # the chunk that follows the last one pulled
        # The send that waits, since when, with how many bytes before it, and the timer that looks at it.
        self._sending: asyncio.Timeout | None = None
        self._since = 0.0
        self._before = 0
        self._look_at: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        disconnected = asyncio.ensure_future(disconnect(receive))
        self._unsent = unsent(scope)
        try:
            await self._wait_for_turn(disconnected)
            while len(chunk := await self._pull(disconnected)) == 0 and chunk is not _END:
                pass
            if self._length is not None:
                self.headers["Content-Length"] = str(self._length())
            if self._reading is not None:
                metrics.first_byte(time.monotonic() - self._began)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._send_all(send, chunk, disconnected)
        except Unavailable as error:
            await asyncio.shield(self._fail(error))
            raise
        finally:
            disconnected.cancel()
            if self._look_at is not None:
                self._look_at.cancel()
            # Shielded: a cancelled request must still end its query first.
            await asyncio.shield(self._close())

    async def _send_all(self, send: Send, chunk: Any, disconnected: asyncio.Future[None]) -> None:
        """Send the body, from ``chunk`` on."""
        # The first bytes are sent without a timeout, as the server buffers them at once; most files are smaller.
        size, sent_bytes, ended = READ_BYTES, 0, None
        while chunk is not _END:
            if sent_bytes and len(chunk):  # not before: the first bytes are sent without waiting for the thread
                self._pull_ahead()
            at = 0
            while at < len(chunk):
                data = chunk[at : at + size]
                at += len(data)
                message = {"type": "http.response.body", "body": data, "more_body": True}
                if sent_bytes + len(data) <= READ_BYTES:
                    await send(message)
                else:
                    ended = ended or self._ended()
                    if ended.done():
                        break
                    await self._send(send, message, ended)
                    size = READ_BYTES if self._unsent is None else SENT_BYTES
                # The server drops data for a client that has disconnected.
                sent_bytes += 0 if disconnected.done() else len(data)
                if self._reading is not None:
                    self._reading.sent_bytes = sent_bytes
                if ended is not None and ended.done():
                    break
            chunk = await self._pull(disconnected)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _ended(self) -> asyncio.Future[None]:
        """A future that is done once the stream was aborted from outside; it then ends a send that waits."""
        if self._reading is None:
            return asyncio.get_running_loop().create_future()
        ended = asyncio.wrap_future(self._reading.ended)
        ended.add_done_callback(self._wake)
        return ended

    def _wake(self, ended: asyncio.Future[None]) -> None:
        self._interrupt()

    def _interrupt(self) -> None:
        """End the send that waits, if there is one that has not been ended yet: a timeout that has expired cannot be
        changed."""
        if self._sending is not None:
            self._sending.reschedule(asyncio.get_running_loop().time())
            self._sending = None

    async def _close(self) -> None:
        await self._settle(self._cancel)
        if inspect.getgeneratorstate(self._chunks) != inspect.GEN_CLOSED:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._end)

    async def _fail(self, error: Unavailable) -> None:
        """End the stream with this error, so that it is recorded as the export's."""
        await self._settle(self._cancel if self._reading is None else partial(self._reading.fail, error))
        await asyncio.get_running_loop().run_in_executor(self._threads, _throw, self._chunks, error)

    async def _settle(self, stop: Callable[[], None]) -> None:
        """Wait for the end of a pull that has begun; ``stop`` makes it return."""
        if self._coming is None:
            return
        if not self._coming.done():
            stop()
            await asyncio.wait({self._coming})
        self._coming.exception()  # retrieved, or asyncio would log it if the client disconnects at the same moment
        self._coming = None

    def _end(self) -> None:
        """Close the chunks. If an export's generator has not started yet, start it first: closing an unstarted
        generator runs none of its code, so the end would not be recorded."""
        if self._reading is not None and inspect.getgeneratorstate(self._chunks) == inspect.GEN_CREATED:
            self._cancel()
            with contextlib.suppress(FluxportError, StopIteration):
                next(self._chunks)
        self._chunks.close()

    async def _wait_for_turn(self, disconnected: asyncio.Future[None]) -> None:
        """Wait for the turn without occupying a thread, which running exports need. The next pull raises any error."""
        if self._reading is None or (turn := self._reading.enter()).done():
            return
        try:
            both: set[asyncio.Future[Any]] = {asyncio.wrap_future(turn), disconnected}
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for future in done - {disconnected}:
                future.exception()
        finally:
            turn.cancel()

    async def _pull(self, disconnected: asyncio.Future[None]) -> Any:
        """The next chunk or _END; Canceled if the client has disconnected, once the query and the pull have ended."""
        if self._coming is None and self._after is not None:
            chunk, self._after = self._after, None
            return chunk
        try:
            if not disconnected.done():  # or an export whose last bytes were dropped could end as complete
                loop = asyncio.get_running_loop()
                self._coming = self._coming or loop.run_in_executor(self._threads, self._next_to_send)
                await asyncio.wait({self._coming, disconnected}, return_when=asyncio.FIRST_COMPLETED)
            if self._coming is None or disconnected.done():
                raise Canceled("The client disconnected before the end.", code="client_gone")
            return self._coming.result()
        finally:
            await self._settle(self._cancel)

    def _pull_ahead(self) -> None:
        """Begin to pull the next chunk, unless it has been pulled."""
        if self._coming is None and self._after is None:
            self._coming = asyncio.get_running_loop().run_in_executor(self._threads, self._next)

    def _next_to_send(self) -> Any:
        """As :meth:`_next`, once all before has been sent: then nothing has to wait for the end."""
        chunk = self._next()
        return self._next() if self._begun and len(chunk) == 0 and chunk is not _END else chunk

    def _next(self) -> Any:
        """The next chunk or _END. A small chunk that is not the first is usually the last one: then also pull what
        follows, which saves a switch of threads."""
        chunk = next(self._chunks, _END)
        if self._begun and 0 < len(chunk) < CHUNK_MIN_BYTES:
            self._after = next(self._chunks, _END)
        self._begun = self._begun or len(chunk) > 0
        return chunk

    async def _send(self, send: Send, message: dict[str, Any], ended: asyncio.Future[None]) -> None:
        """Send, but stop waiting after the time limit, or when the stream is aborted: the next pull raises the
        reason."""
        # Neither a task nor a timer for each: the turns of the event loop wait for the thread that pulls.
        loop = asyncio.get_running_loop()
        self._since, self._before = loop.time(), self._unsent() if self._unsent else 0
        self._look_at = self._look_at or loop.call_later(self._send_timeout_s, self._look)
        try:
            async with asyncio.timeout(None) as self._sending:
                await send(message)
        except TimeoutError:
            if not ended.done():
                raise Unavailable(
                    f"The client read almost nothing for {self._send_timeout_s:g} s; the export was aborted.",
                    code="client_stalled",
                ) from None
        finally:
            self._sending = None

    def _look(self) -> None:
        """End the send that waits if its client has read less than READ_BYTES within the time limit."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._sending is None:
            self._since = now
        elif now >= self._since + self._send_timeout_s:
            left = self._unsent() if self._unsent else self._before
            if left > self._before - READ_BYTES:
                self._interrupt()
                return
            self._since, self._before = now, left
        self._look_at = loop.call_at(self._since + self._send_timeout_s, self._look)


def _throw(chunks: Chunks, error: Unavailable) -> None:
    with contextlib.suppress(FluxportError, StopIteration):
        chunks.throw(error)


async def disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_OLD_HOP = re.compile(r"(?:^|,)\s*(?:HTTP/)?(?:0\.9|1\.0)\s", re.IGNORECASE)


def is_blind(request: Request) -> bool:
    """Whether the client cannot tell a broken response without a length from a complete one.

    In HTTP/1.0 the end of the connection ends the body; our clients notice a reset, but HAProxy and Apache pass it on
    as a normal end. ``Via`` shows the HTTP version behind a proxy. PHP's own HTTP client speaks HTTP/1.1 but does not
    check for the last chunk; it is recognized by ``Connection: close`` without a ``User-Agent``.
    """
    headers = request.headers
    return (
        request.scope["http_version"] in ("0.9", "1.0")
        or any(_OLD_HOP.search(via) for via in headers.getlist("via"))
        or ("user-agent" not in headers and headers.get("connection", "").lower() == "close")
    )


@dataclass(frozen=True)
class DirectStreams:
    """What responses with direct streams share: ``threads`` pull their chunks, and a send takes ``send_timeout_s``
    at most."""

    streams: Streams
    threads: Executor
    send_timeout_s: float

    async def response(self, spec: ExportSpec, caller: Caller, request: Request) -> Response:
        """A direct stream as the response to ``request``. HEAD runs all checks and returns the headers of the file: no
        export starts and no query runs."""
        if is_head(request):
            export = (await run_in_threadpool(self.streams.check, spec, caller)).open("not-begun")
            return HeadersOnly(file_headers(export.filename, export.media_type))
        stream = await run_in_threadpool(self.streams.open, spec, caller, whole=is_blind(request))
        return StreamedFile(
            stream.chunks,
            headers=file_headers(stream.export.filename, stream.export.media_type, stream.record.id),
            threads=self.threads,
            cancel=stream.gone,
            send_timeout_s=self.send_timeout_s,
            reading=stream.reading,
            length=stream.length,
        )
