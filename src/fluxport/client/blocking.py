"""The client for threads, on the transport that stores and webhooks use (urllib3)."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from fluxport.client.models import Job, JobEvent, Link
from fluxport.client.protocol import Access, Flow, Output, Protocol, Read, Reply, Send, Sleep, Step
from fluxport.errors import Conflict, NotFound, Refused, Unavailable
from fluxport.headers import web_address

if TYPE_CHECKING:
    import os

    from fluxport.outbound import Client as Transport
    from fluxport.stages import Chunks
    from fluxport.targets import ExportedFile

T = TypeVar("T")

TIMEOUT_S = 60.0
RETRIES = 4


class Service:
    """The common part of both clients: the service's address and protocol."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        secret: str | None = None,
        key_id: str = "default",
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
    ) -> None:
        self._protocol = Protocol(Access(url, key, secret, key_id), retries)
        self._timeout_s = timeout_s
        self._begin()

    def _begin(self) -> None:
        raise NotImplementedError


class Client(Service):
    """A client of a running service, for any number of threads. Use it as a context manager, or ``close`` it.

    Args:
        url: The service's URL, such as ``http://127.0.0.1:8080``.
        key: A bearer key; or
        secret: The secret that signs each request, for the key ``key_id``.
        timeout_s: Timeout in seconds for connecting, and for each wait for bytes.
        retries: How often to retry a request that got no response, or one that says to retry later.

    Every method raises Unavailable if the service cannot be reached, Unauthorized or Forbidden if it rejects the
    credentials, and otherwise the service's own error, in the same family.
    """

    def _begin(self) -> None:
        self._hosts: dict[str, Transport] = {}

    def create(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Job:
        """Queue an export; ``body`` is that of ``POST /v1/exports``. A second call with the same key returns the same
        export; without a key each call generates one, so that retries create no second export."""
        return self._run(self._protocol.create(body, idempotency_key))

    def get(self, export_id: str) -> Job:
        """The current state of the export. NotFound if there is none with this id, or it belongs to another user."""
        return self._run(self._protocol.show(export_id))

    def list(self, *, status: str | None = None, limit: int = 20) -> tuple[Job, ...]:
        """The newest exports of the caller, at most ``limit`` (1 to 100)."""
        return tuple(self._run(self._protocol.page(status, limit)))

    def wait(self, export_id: str, *, timeout_s: float | None = None) -> Job:
        """The export once it is completed, polled every second. Raises its error if it failed, Canceled, or TimedOut
        after ``timeout_s``; the export then continues."""
        return self._run(self._protocol.wait(export_id, timeout_s))

    def follow(self, export_id: str) -> Iterator[JobEvent]:
        """The events of the export as they happen, to its end; resumes after a lost connection."""
        return self._outputs(self._protocol.follow(export_id))

    def cancel(self, export_id: str) -> Job:
        """Cancel a queued or running export. Conflict if it has ended."""
        return self._run(self._protocol.cancel(export_id))

    def link(self, export_id: str, *, one_time: bool = False) -> Link:
        """A new link to the file of a completed export; with ``one_time``, for the one client whose download begins
        first. Conflict or Gone if it has no file."""
        return self._run(self._protocol.link(export_id, one_time=one_time))

    def download(self, export_id: str, to: str | os.PathLike[str], *, part: int | None = None) -> ExportedFile:
        """Download the file of a completed export (of several files, number ``part``, from 1) to the file or folder
        ``to``.

        The file gets its name, replacing an older one, once it is complete and matches the service's digest; after a
        lost connection only the rest is fetched. Broken if the bytes differ.
        """
        job = self.get(export_id)
        number = part_of(job, part)
        return stored(job, to, number, self._outputs(self._protocol.download(job, number)))

    def stream(self, body: Mapping[str, Any]) -> Generator[bytes, None, None]:
        """The chunks of a direct stream; ``body`` is that of ``POST /v1/stream``. It ends normally only if size and
        digest match those that the service sent. Closing it aborts the query."""
        return self._outputs(self._protocol.stream(body))

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._hosts = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        done: list[T] = []

        def ending() -> Flow[None]:
            done.append((yield from flow))

        for _ in self._outputs(ending()):
            raise AssertionError("a flow with a result has no outputs")
        return done[0]

    def _outputs(self, flow: Flow[None]) -> Generator[Any, None, None]:
        """The outputs of the flow, running its steps."""
        outcome: Any = None
        with closing(flow), closing(_Connection(self)) as connection:
            try:
                step = next(flow)
                while True:
                    try:
                        outcome = None
                        if isinstance(step, Output):
                            yield step.value
                        else:
                            outcome = connection.take(step)
                    except Unavailable as error:
                        step = flow.throw(error)
                    else:
                        step = flow.send(outcome)
            except StopIteration:
                return

    def _host(self, url: str) -> Transport:
        from fluxport.outbound import Client as Transport

        address = web_address(url.partition("?")[0])
        if address is None:
            raise Refused("The URL of a file is not an http(s) URL.", code="bad_url")
        name = f"{address.scheme}://{address.netloc}"
        return self._hosts.setdefault(name, Transport(address, connect_s=self._timeout_s, stall_s=self._timeout_s))


class _Connection:
    """Runs the steps of one flow, with at most one open response."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._body: Chunks | None = None
        self._host = ""

    def take(self, step: Step) -> Any:
        from fluxport.outbound import Failure

        if isinstance(step, Sleep):
            time.sleep(step.seconds)
            return None
        try:
            if isinstance(step, Send):
                return self._send(step)
            assert isinstance(step, Read)
            assert self._body is not None
            return next(self._body, b"")
        except Failure as failure:
            error = unreachable if isinstance(step, Send) else lost
            raise error(self._host, str(failure)) from failure

    def _send(self, step: Send) -> Reply:
        self.close()
        transport, parts = self._client._host(step.url), urlsplit(step.url)
        self._host = parts.netloc
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if step.streamed:
            head, self._body = transport.open(target, step.headers, method=step.method, body=step.body, prompt=True)
        else:
            head = transport.request(step.method, target, step.headers, step.body)
        return Reply(head.status, head.headers, head.body)

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


def unreachable(host: str, reason: str) -> Unavailable:
    return Unavailable(f"The service at {host} cannot be reached: {reason}.", code="unreachable")


def lost(host: str, reason: str) -> Unavailable:
    return Unavailable(f"The connection to {host} was lost in the middle of a response: {reason}.", code="unreachable")


def part_of(job: Job, part: int | None) -> int:
    """The number of the requested file; Conflict if there is no file, NotFound if there is none with this number."""
    if job.link is None or not job.files:
        raise Conflict(f"This export is {job.status}; it has no file.", code="not_ready")
    number = 1 if part is None and len(job.files) == 1 else part
    if number is None or not 1 <= number <= len(job.files):
        raise NotFound(f"This export has {len(job.files)} files; 'part' is the number of one.", code="no_such_part")
    return number


def stored(job: Job, to: str | os.PathLike[str], part: int, chunks: Chunks) -> ExportedFile:
    """Store these bytes as the file of the job, at or in ``to``."""
    from fluxport.sinks.local import LocalSink, remove_unfinished
    from fluxport.targets import ExportedFile

    file, target = job.files[part - 1], Path(to)
    path = target / Path(file.name).name if target.is_dir() else target
    if not path.parent.is_dir():
        raise Refused(f"There is no folder {str(path.parent)!r}; create it first.", code="bad_target")
    remove_unfinished(path.parent)
    receipt = LocalSink(path.parent, overwrite=True).put(path.name, chunks)
    return ExportedFile(receipt.location, path.name, file.rows, receipt.size_bytes, receipt.sha256, receipt.verified)
