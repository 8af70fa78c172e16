"""What a client of the service does, without doing it: generators of steps.

A :data:`Flow` yields what is to be done next, and is sent its outcome; Unavailable is thrown into it where nothing
answered or an answer broke off. So signing, retrying, reconnecting and resuming are written once, for threads and for
asyncio.
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
RESUMES = 5  # attempts of a download that bring nothing new


@dataclass(frozen=True)
class Send:
    """A request; with ``streamed`` the body of a good answer is left to be read."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    streamed: bool = False


@dataclass(frozen=True)
class Read:
    """The next bytes of the answer that is open, as soon as there are some; none at its end."""


@dataclass(frozen=True)
class Sleep:
    seconds: float


@dataclass(frozen=True)
class Give:
    """Something for the caller."""

    value: Any


@dataclass(frozen=True)
class Reply:
    """What answered; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)


Step: TypeAlias = Send | Read | Sleep | Give
Flow: TypeAlias = Generator[Step, Any, T]


@dataclass(frozen=True)
class Access:
    """Where the service is, and who asks: by a bearer ``key``, or signed with the ``secret`` of ``key_id``."""

    url: str
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    key_id: str = "default"

    def __post_init__(self) -> None:
        if web_address(self.url) is None:  # not repeated: what is wrong with it may be a password in it
            raise Refused(
                "The address of the service is like http://127.0.0.1:8080; correct --url, FLUXPORT_URL or the argument "
                "'url'.",
                code="bad_url",
            )
        if (self.key is None) == (self.secret is None):
            raise Refused("A client has either a key or a secret; give one of them.", code="bad_key")
        if not all(is_value(value) for value in (self.key or "", self.key_id)):
            raise Refused(
                "A key, and the name of one, has printable ASCII characters only; correct it.", code="bad_key"
            )

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        streamed: bool = False,
    ) -> Send:
        """The request with its credentials; a signature is new each time, as each counts once."""
        given = dict(headers)
        if body:
            given["Content-Type"] = "application/json"
        if self.key is not None:
            given["Authorization"] = f"Bearer {self.key}"
        else:
            from fluxport.auth.signing import sign_v2

            address = web_address(self.url)
            assert address is not None
            assert self.secret is not None
            path = address.path.rstrip("/") + target
            nonce = secrets.token_urlsafe(18)
            given |= sign_v2(self.secret, self.key_id, method, path, body, int(time.time()), nonce)
        return Send(method, self.url.rstrip("/") + target, given, body, streamed)


@dataclass(frozen=True)
class Protocol:
    """The requests of a client, each as a flow. ``retries`` of what may be sent again, and is worth it."""

    access: Access
    retries: int

    # -- requests --------------------------------------------------------------------------------------------------

    def create(self, body: Mapping[str, Any], idempotency_key: str | None) -> Flow[Job]:
        data = json.dumps(body).encode()
        key = idempotency_key or secrets.token_urlsafe(18)  # so that it can be sent again
        told = yield from self._object("POST", "/v1/exports", "id", data, {"Idempotency-Key": key})
        return Job.from_json(told)

    def show(self, export_id: str) -> Flow[Job]:
        told = yield from self._object("GET", _target(export_id), "id")
        return Job.from_json(told)

    def page(self, status: str | None, limit: int) -> Flow[list[Job]]:
        query = urlencode({"limit": limit} | ({"status": status} if status else {}))
        told = yield from self._object("GET", f"/v1/exports?{query}", "data")
        return [Job.from_json(job) for job in told["data"]]

    def cancel(self, export_id: str) -> Flow[Job]:
        told = yield from self._object("DELETE", _target(export_id), "status")
        return Job.from_json(told)

    def link(self, export_id: str, *, one_time: bool) -> Flow[Link]:
        body = json.dumps({"one_time": one_time}).encode()
        told = yield from self._object("POST", f"{_target(export_id)}/links", "url", body)
        return Link(told["url"], told.get("expires_at"))

    # -- waiting ---------------------------------------------------------------------------------------------------

    def wait(self, export_id: str, timeout_s: float | None) -> Flow[Job]:
        """The job once it has ended; its error if that was by one."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            job = yield from self.show(export_id)
            if job.ended:
                return _ended(job)
            if until is not None and time.monotonic() >= until:
                raise TimedOut(f"The export is still {job.status} after {timeout_s:g} s; it goes on.", code="deadline")
            yield Sleep(POLL_S)

    def follow(self, export_id: str) -> Flow[None]:
        """Gives its events, each once, to the last one."""
        last, failures = 0, 0
        while True:
            try:
                yield from self._answered(partial(self._events, export_id, last), again=False)
                events = Events()
                while chunk := (yield Read()):
                    for event in events.feed(chunk):
                        last, failures = event.seq, 0
                        yield Give(event)
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
        """Gives the chunks of an export that is not stored; Broken at their end if they are not what was sent."""
        data = json.dumps(body).encode()
        reply = yield from self._answered(lambda: self.access.request("POST", "/v1/stream", data, streamed=True))
        arrived = _Arrived()
        while chunk := (yield Read()):
            arrived.add(chunk)
            yield Give(chunk)
        job = yield from self.wait(reply.headers.get("x-export-id", ""), WAIT_MAX_S)
        arrived.check(job.files[0])

    def download(self, job: Job, number: int) -> Flow[None]:
        """Gives the chunks of a stored file, number 1 being the first; Broken at their end if they are not those that
        the service stored. Where they break off, the rest is asked for, of the same file."""
        file, arrived, etag, failures = job.files[number - 1], _Arrived(), "", 0
        while True:
            try:
                reply = yield from self._part(job, number, arrived.size, etag)
                etag = reply.headers.get("etag", "")
                beyond = arrived.size if reply.status == 200 else 0  # the whole file, of which some is here
                while chunk := (yield Read()):
                    new = chunk[beyond:]
                    beyond -= len(chunk) - len(new)
                    if new:
                        failures = 0
                        arrived.add(new)
                        yield Give(new)
                if arrived.size < file.bytes:
                    raise Unavailable("The file broke off before its end.", code="unreachable")
            except Unavailable:
                failures += 1
                if failures > (RESUMES if arrived.size else self.retries):
                    raise
                yield Sleep(_pause(failures))
                job = yield from self.show(job.id)  # with a new link: the older one may have ended
                continue
            arrived.check(file)
            return

    def _part(self, job: Job, number: int, start: int, etag: str) -> Flow[Reply]:
        """The answer with the file from ``start`` on, or with all of it."""
        if job.link is None:
            raise Conflict(f"This export is {job.status}; it has no file.", code="not_ready")
        url = job.link.url
        if len(job.files) > 1:
            url += f"{'&' if '?' in url else '?'}part={number}"
        wanted = {"Range": f"bytes={start}-"} if start else {}
        if start and etag and not etag.startswith("W/"):
            wanted["If-Range"] = etag
        reply: Reply = yield Send("GET", url, wanted, streamed=True)
        if reply.status >= 300:
            raise problem(reply)
        there = f"bytes {start}-"
        if start and (
            reply.headers.get("etag", "") != etag
            or (reply.status == 206 and not reply.headers.get("content-range", "").startswith(there))
        ):
            raise Broken("The file changed while it was fetched; nothing was kept.", code="file_changed")
        return reply

    # -- answers ---------------------------------------------------------------------------------------------------

    def _object(
        self,
        method: str,
        target: str,
        member: str,
        body: bytes = b"",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Flow[Any]:
        """The answer, a JSON object with this ``member``."""
        again = method != "DELETE"  # the second one would be about an export that has ended
        reply = yield from self._answered(lambda: self.access.request(method, target, body, headers), again=again)
        try:
            found = json.loads(reply.body)
        except ValueError:
            found = None
        if not isinstance(found, dict) or member not in found:
            address = web_address(self.access.url)
            assert address is not None
            raise Refused(
                f"What answers at {address.netloc} is no Fluxport; look at --url, FLUXPORT_URL or the argument 'url'.",
                code="bad_url",
            )
        return found

    def _answered(self, request: Callable[[], Send], *, again: bool = True) -> Flow[Reply]:
        """A good answer, after as many attempts as are worth it."""
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


class _Arrived:
    """The bytes that came, by their number and digest."""

    def __init__(self) -> None:
        self.size = 0
        self._digest = sha256()

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._digest.update(chunk)

    def check(self, file: JobFile) -> None:
        if (self.size, self._digest.hexdigest()) != (file.bytes, file.sha256):
            raise Broken("What arrived is not the file that the service made; nothing was kept.", code="file_differs")


class Events:
    """Server-sent events of what arrives, wherever it is cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[JobEvent]:
        *whole, self._rest = (self._rest + chunk).split(b"\n\n")
        for block in whole:
            pairs = (line.partition(":") for line in block.decode().splitlines())
            fields = {name: value.removeprefix(" ") for name, _, value in pairs}
            if "data" in fields:  # else it is a comment that keeps proxies awake
                yield JobEvent(int(fields["id"]), fields["event"], json.loads(fields["data"]))


def problem(reply: Reply) -> FluxportError:
    """The error that an answer tells, in its family."""
    try:
        told = json.loads(reply.body)
    except ValueError:
        told = None
    told = told if isinstance(told, dict) else {}
    code = str(told.get("code", "http_error"))
    families: list[type[FluxportError]] = [
        *FAMILIES.get(code, ()),
        Refused,
        Unavailable,
        *(f for known in FAMILIES.values() for f in known),
    ]
    wanted = 503 if reply.status in (502, 504) else reply.status  # a proxy without the service behind it
    family = next((f for f in families if f.status == wanted), Refused)
    pause_s = retry_after_s(reply.headers.get("retry-after"), time.time(), most_s=WAIT_MAX_S)
    return family(str(told.get("detail", f"The service answered {reply.status}.")), code=code, retry_after_s=pause_s)


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
