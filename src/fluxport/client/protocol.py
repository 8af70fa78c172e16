"""The client's protocol without I/O: generators of steps.

A :data:`Flow` yields the next step and is sent its outcome; Unavailable is thrown into it if there is no response or
the connection is lost. Signing, retries, reconnecting and resuming are thus written once, for threads and for asyncio:

    flow     Send(request) -> Reply   Read() -> bytes   Sleep(seconds)   Output(value)
    client   sends it, or throws      reads more        sleeps           gives the value to the caller
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

from fluxport.client.models import Job, JobEvent, JobFile, Link
from fluxport.error_codes import FAMILIES
from fluxport.errors import Broken, Canceled, Conflict, FluxportError, Refused, TimedOut, TooMany, Unavailable
from fluxport.headers import is_value, retry_after_s, web_address

T = TypeVar("T")

POLL_S = 1.0
WAIT_MAX_S = 30.0  # between two attempts
RESUMES = 5  # attempts of a download without new bytes


@dataclass(frozen=True)
class Send:
    """A request; with ``streamed`` the body of a successful response is left for Read steps."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    streamed: bool = False


@dataclass(frozen=True)
class Read:
    """The next available bytes of the open response; empty at its end."""


@dataclass(frozen=True)
class Sleep:
    seconds: float


@dataclass(frozen=True)
class Output:
    """A value for the caller."""

    value: Any


@dataclass(frozen=True)
class Reply:
    """A response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)


Step: TypeAlias = Send | Read | Sleep | Output
Flow: TypeAlias = Generator[Step, Any, T]


@dataclass(frozen=True)
class Access:
    """The service's URL and the credentials: a bearer ``key``, or the ``secret`` of ``key_id``, which signs."""

    url: str
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    key_id: str = "default"

    def __post_init__(self) -> None:
        if web_address(self.url) is None:  # not quoted, as it may include a password
            raise Refused(
                "The service's URL is invalid; correct it, or FLUXPORT_URL, to a URL such as http://127.0.0.1:8080.",
                code="bad_url",
            )
        if (self.key is None) == (self.secret is None):
            raise Refused("A client needs either a key or a secret; set one of them.", code="bad_key")
        if not all(is_value(value) for value in (self.key or "", self.key_id)):
            raise Refused("A key and its name consist of printable ASCII characters; correct them.", code="bad_key")

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        streamed: bool = False,
    ) -> Send:
        """The request with its credentials; each has a new signature, as the service accepts each one once."""
        signed = dict(headers)
        if body:
            signed["Content-Type"] = "application/json"
        if self.key is not None:
            signed["Authorization"] = f"Bearer {self.key}"
        else:
            from fluxport.auth.signing import sign_v2

            address = web_address(self.url)
            assert address is not None
            assert self.secret is not None
            path = address.path.rstrip("/") + target
            nonce = secrets.token_urlsafe(18)
            signed |= sign_v2(self.secret, self.key_id, method, path, body, int(time.time()), nonce)
        return Send(method, self.url.rstrip("/") + target, signed, body, streamed)


@dataclass(frozen=True)
class Protocol:
    """The requests of a client, each as a flow. ``retries`` limits retries of idempotent requests."""

    access: Access
    retries: int

    # -- requests --------------------------------------------------------------------------------------------------

    def create(self, body: Mapping[str, Any], idempotency_key: str | None) -> Flow[Job]:
        data = json.dumps(body).encode()
        key = idempotency_key or secrets.token_urlsafe(18)  # so that it can be retried
        response = yield from self._object("POST", "/v1/exports", "id", data, {"Idempotency-Key": key})
        return Job.from_json(response)

    def show(self, export_id: str) -> Flow[Job]:
        response = yield from self._object("GET", _target(export_id), "id")
        return Job.from_json(response)

    def page(self, status: str | None, limit: int) -> Flow[list[Job]]:
        query = urlencode({"limit": limit} | ({"status": status} if status else {}))
        response = yield from self._object("GET", f"/v1/exports?{query}", "data")
        return [Job.from_json(job) for job in response["data"]]

    def cancel(self, export_id: str) -> Flow[Job]:
        response = yield from self._object("DELETE", _target(export_id), "status")
        return Job.from_json(response)

    def link(self, export_id: str, *, one_time: bool) -> Flow[Link]:
        body = json.dumps({"one_time": one_time}).encode()
        response = yield from self._object("POST", f"{_target(export_id)}/links", "url", body)
        return Link(response["url"], response.get("expires_at"))

    # -- waiting ---------------------------------------------------------------------------------------------------

    def wait(self, export_id: str, timeout_s: float | None) -> Flow[Job]:
        """The job once it is completed; raises its error if it failed."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            job = yield from self.show(export_id)
            if job.ended:
                return _ended(job)
            if until is not None and time.monotonic() >= until:
                raise TimedOut(
                    f"The export is still {job.status} after {timeout_s:g} s; it continues.", code="deadline"
                )
            yield Sleep(POLL_S)

    def follow(self, export_id: str) -> Flow[None]:
        """Outputs its events, each once, to the last one."""
        last, failures = 0, 0
        while True:
            try:
                yield from self._retried(partial(self._events, export_id, last), again=False)
                events = Events()
                while chunk := (yield Read()):
                    for event in events.feed(chunk):
                        last, failures = event.seq, 0
                        yield Output(event)
                        if event.last:
                            return
                job = yield from self.show(export_id)
                if job.ended:
                    return
                raise Unavailable("The events ended before the export did.", code="unreachable")
            except Unavailable:
                failures += 1
                if failures > self.retries:
                    raise
                yield Sleep(_pause(failures))

    def _events(self, export_id: str, last: int) -> Send:
        more = {"Last-Event-ID": str(last)} if last else {}
        return self.access.request("GET", f"{_target(export_id)}/events", b"", more, streamed=True)

    # -- bytes -----------------------------------------------------------------------------------------------------

    def stream(self, body: Mapping[str, Any]) -> Flow[None]:
        """Outputs the chunks of a direct stream; Broken at the end if size or digest differ."""
        data = json.dumps(body).encode()
        reply = yield from self._retried(lambda: self.access.request("POST", "/v1/stream", data, streamed=True))
        received = _Received()
        while chunk := (yield Read()):
            received.add(chunk)
            yield Output(chunk)
        job = yield from self.wait(reply.headers.get("x-export-id", ""), WAIT_MAX_S)
        received.check(job.files[0])

    def download(self, job: Job, number: int) -> Flow[None]:
        """Outputs the chunks of a stored file, number 1 being the first; Broken at the end if they differ from those
        that the service stored. After a lost connection the rest of the same file is requested."""
        file, received, etag, failures = job.files[number - 1], _Received(), "", 0
        while True:
            try:
                reply = yield from self._part(job, number, received.size, etag)
                etag = reply.headers.get("etag", "")
                skip_bytes = received.size if reply.status == 200 else 0  # the whole file is sent again
                while chunk := (yield Read()):
                    new = chunk[skip_bytes:]
                    skip_bytes -= len(chunk) - len(new)
                    if new:
                        failures = 0
                        received.add(new)
                        yield Output(new)
                if received.size < file.bytes:
                    raise Unavailable("The connection was lost before the end of the file.", code="unreachable")
            except Unavailable:
                failures += 1
                if failures > (RESUMES if received.size else self.retries):
                    raise
                yield Sleep(_pause(failures))
                job = yield from self.show(job.id)  # with a new link: the old one may have expired
                continue
            received.check(file)
            return

    def _part(self, job: Job, number: int, start: int, etag: str) -> Flow[Reply]:
        """The response with the file from ``start``, or with all of it."""
        if job.link is None:
            raise Conflict(f"This export is {job.status}; it has no file.", code="not_ready")
        url = job.link.url
        if len(job.files) > 1:
            url += f"{'&' if '?' in url else '?'}part={number}"
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and etag and not etag.startswith("W/"):
            headers["If-Range"] = etag
        reply: Reply = yield Send("GET", url, headers, streamed=True)
        if reply.status >= 300:
            raise problem(reply)
        expected = f"bytes {start}-"
        if start and (
            reply.headers.get("etag", "") != etag
            or (reply.status == 206 and not reply.headers.get("content-range", "").startswith(expected))
        ):
            raise Broken("The file changed during the download; nothing was stored.", code="file_changed")
        return reply

    # -- responses -------------------------------------------------------------------------------------------------

    def _object(
        self,
        method: str,
        target: str,
        member: str,
        body: bytes = b"",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Flow[Any]:
        """The response, a JSON object with this ``member``."""
        again = method != "DELETE"  # a retry would get the error for an export that has ended
        reply = yield from self._retried(lambda: self.access.request(method, target, body, headers), again=again)
        try:
            document = json.loads(reply.body)
        except ValueError:
            document = None
        if not isinstance(document, dict) or member not in document:
            address = web_address(self.access.url)
            assert address is not None
            raise Refused(
                f"The service at {address.netloc} is not Fluxport; check its URL, or FLUXPORT_URL.",
                code="bad_url",
            )
        return document

    def _retried(self, request: Callable[[], Send], *, again: bool = True) -> Flow[Reply]:
        """A successful response, after retries of transient errors."""
        failures = 0
        while True:
            try:
                reply: Reply = yield request()
                if reply.status < 300:
                    return reply
                raise problem(reply)
            except (Unavailable, TooMany) as error:
                failures += 1
                if not again or failures > self.retries:
                    raise
                pause_s = _pause(failures) if error.retry_after_s is None else error.retry_after_s
            yield Sleep(pause_s)


class _Received:
    """The size and digest of the received bytes."""

    def __init__(self) -> None:
        self.size = 0
        self._digest = sha256()

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._digest.update(chunk)

    def check(self, file: JobFile) -> None:
        if (self.size, self._digest.hexdigest()) != (file.bytes, file.sha256):
            raise Broken(
                "The received bytes differ from the service's file; nothing was stored. Download it again.",
                code="file_differs",
            )


class Events:
    """Parses server-sent events from chunks of any size."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[JobEvent]:
        *whole, self._rest = (self._rest + chunk).split(b"\n\n")
        for block in whole:
            pairs = (line.partition(":") for line in block.decode().splitlines())
            fields = {name: value.removeprefix(" ") for name, _, value in pairs}
            if "data" in fields:  # else it is a comment that prevents proxy timeouts
                yield JobEvent(int(fields["id"]), fields["event"], json.loads(fields["data"]))


def problem(reply: Reply) -> FluxportError:
    """The error in a response, in its family."""
    try:
        error = json.loads(reply.body)
    except ValueError:
        error = None
    error = error if isinstance(error, dict) else {}
    code = str(error.get("code", "http_error"))
    families: list[type[FluxportError]] = [
        *FAMILIES.get(code, ()),
        Refused,
        Unavailable,
        *(f for known in FAMILIES.values() for f in known),
    ]
    status = 503 if reply.status in (502, 504) else reply.status  # from a proxy that cannot reach the service
    family = next((f for f in families if f.status == status), Refused)
    pause_s = retry_after_s(reply.headers.get("retry-after"), time.time(), most_s=WAIT_MAX_S)
    sentence = str(error.get("detail", f"The service responded with status {reply.status}."))
    return family(sentence, code=code, retry_after_s=pause_s)


def _ended(job: Job) -> Job:
    if job.error is not None:
        raise job.error.error()
    if job.status == "canceled":
        raise Canceled("The export was canceled.")
    return job


def _target(export_id: str) -> str:
    return f"/v1/exports/{quote(export_id, safe='', errors='surrogateescape')}"


def _pause(failures: int) -> float:
    return float(min(0.25 * 2**failures, WAIT_MAX_S))
