"""The client for asyncio, on httpx: it can follow many exports at once without a thread for each."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from fluxport.client.blocking import Service, lost, part_of, stored, unreachable
from fluxport.client.models import Job, JobEvent, Link
from fluxport.client.protocol import Flow, Output, Read, Reply, Send, Sleep, Step
from fluxport.errors import Canceled, Refused, Unavailable

if TYPE_CHECKING:
    import os

    import httpx

    from fluxport.targets import ExportedFile

T = TypeVar("T")


class AsyncClient(Service):
    """:class:`fluxport.Client` for asyncio, with the same arguments, methods and errors.

    It requires httpx (``pip install 'fluxport[client]'``; Refused without it) and belongs to one event loop; use it as
    a context manager or ``await close()``.
    """

    def _begin(self) -> None:
        try:
            import httpx
        except ImportError:
            raise Refused(
                "AsyncClient needs its library: pip install 'fluxport[client]'.", code="missing_extra"
            ) from None
        from fluxport.outbound import tls_context

        logging.getLogger("httpx").setLevel(
            logging.WARNING
        )  # its log lines include whole URLs, with the tokens of links
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.AsyncClient(timeout=self._timeout_s, verify=tls_context(None), limits=limits)

    async def create(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Job:
        """As :meth:`fluxport.Client.create`."""
        return await self._run(self._protocol.create(body, idempotency_key))

    async def get(self, export_id: str) -> Job:
        """As :meth:`fluxport.Client.get`."""
        return await self._run(self._protocol.show(export_id))

    async def list(self, *, status: str | None = None, limit: int = 20) -> tuple[Job, ...]:
        """As :meth:`fluxport.Client.list`."""
        return tuple(await self._run(self._protocol.page(status, limit)))

    async def wait(self, export_id: str, *, timeout_s: float | None = None) -> Job:
        """As :meth:`fluxport.Client.wait`."""
        return await self._run(self._protocol.wait(export_id, timeout_s))

    def follow(self, export_id: str) -> AsyncIterator[JobEvent]:
        """As :meth:`fluxport.Client.follow`."""
        return self._outputs(self._protocol.follow(export_id))

    async def cancel(self, export_id: str) -> Job:
        """As :meth:`fluxport.Client.cancel`."""
        return await self._run(self._protocol.cancel(export_id))

    async def link(self, export_id: str, *, one_time: bool = False) -> Link:
        """As :meth:`fluxport.Client.link`."""
        return await self._run(self._protocol.link(export_id, one_time=one_time))

    async def download(self, export_id: str, to: str | os.PathLike[str], *, part: int | None = None) -> ExportedFile:
        """As :meth:`fluxport.Client.download`. A thread writes the file; if the task is canceled, the partial file is
        removed before the cancellation propagates."""
        job = await self.get(export_id)
        number = part_of(job, part)
        flow = self._protocol.download(job, number)
        return await self._in_thread(flow, lambda chunks: stored(job, to, number, chunks))

    def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """As :meth:`fluxport.Client.stream`."""
        return self._outputs(self._protocol.stream(body))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *ended: object) -> None:
        await self.close()

    async def _run(self, flow: Flow[T]) -> T:
        done: list[T] = []

        def ending() -> Flow[None]:
            done.append((yield from flow))

        async for _ in self._outputs(ending()):
            raise AssertionError("a flow with a result has no outputs")
        return done[0]

    async def _outputs(self, flow: Flow[None]) -> AsyncGenerator[Any, None]:
        """The outputs of the flow, running its steps."""
        connection = _Connection(self._http)
        try:
            step = next(flow)
            while True:
                try:
                    outcome = None
                    if isinstance(step, Output):
                        yield step.value
                    else:
                        outcome = await connection.take(step)
                except Unavailable as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration:
            return
        finally:
            flow.close()
            await connection.close()

    async def _in_thread(self, flow: Flow[None], work: Callable[[Generator[bytes, None, None]], T]) -> T:
        """Run ``work`` on the outputs of the flow in a thread; the flow's steps run here. If this task is canceled,
        ``work`` ends before the cancellation propagates."""
        loop, outputs, canceled = asyncio.get_running_loop(), self._outputs(flow), threading.Event()
        pending: list[Future[Any]] = []
        step_lock = asyncio.Lock()  # a canceled step ends before the flow is closed

        async def next_output() -> bytes | None:
            async with step_lock:
                return await anext(outputs, None)

        def chunks() -> Generator[bytes, None, None]:
            while not canceled.is_set():
                pending[:] = [asyncio.run_coroutine_threadsafe(next_output(), loop)]
                chunk = pending[0].result()
                if chunk is None:
                    return
                yield chunk
            raise Canceled("The download was canceled.")

        thread = loop.run_in_executor(None, lambda: work(chunks()))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            canceled.set()
            for future in pending:
                future.cancel()
            await asyncio.wait([thread])
            thread.exception()
            raise
        finally:
            async with step_lock:
                await outputs.aclose()


class _Connection:
    """Runs the steps of one flow, with at most one open response."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._open: httpx.Response | None = None
        self._body: AsyncIterator[bytes] | None = None
        self._host = ""

    async def take(self, step: Step) -> Any:
        import httpx

        if isinstance(step, Sleep):
            return await asyncio.sleep(step.seconds)
        try:
            if isinstance(step, Send):
                return await self._send(step)
            assert isinstance(step, Read)
            assert self._body is not None
            return await anext(self._body, b"")
        except httpx.HTTPError as error:
            failed = unreachable if isinstance(step, Send) else lost
            raise failed(self._host, str(error) or type(error).__name__) from error
        except httpx.InvalidURL:
            raise Refused("The URL of a file is not an http(s) URL.", code="bad_url") from None

    async def _send(self, step: Send) -> Reply:
        await self.close()
        self._host = urlsplit(step.url).netloc
        request = self._http.build_request(step.method, step.url, headers=dict(step.headers), content=step.body or None)
        self._open = response = await self._http.send(request, stream=True, follow_redirects=False)
        headers = {name.lower(): value for name, value in response.headers.items()}
        if step.streamed and response.status_code < 300:
            self._body = response.aiter_raw()
            return Reply(response.status_code, headers)
        body = await response.aread()
        await self.close()
        return Reply(response.status_code, headers, body)

    async def close(self) -> None:
        response, self._open, self._body = self._open, None, None
        if response is not None:
            await response.aclose()
