"""Requests to a store over HTTP: kept connections, one deadline per read and write, and tries again where time mends.

A request is tried again after 408, 429, 5xx and a broken or silent connection, with waits that double and are spread
at random, or as long as the store says in ``Retry-After``. What is sent is given as a view, so that nothing is copied
for another try; headers are made anew for each one, because a signature has a time in it.
"""

from __future__ import annotations

import http.client
import logging
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from fluxport.errors import Refused, Unavailable
from fluxport.headers import retry_after_s, web_address
from fluxport.sinks.object_options import HttpOptions
from fluxport.stages import Chunks

log = logging.getLogger("fluxport.stores")

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
# A body that arrived as another than it was sent, in the words of S3, OSS and Google, and of Azure.
DAMAGED = frozenset(
    {"BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest", "Md5Mismatch", "XAmzContentChecksumMismatch"}
)
ANSWER_BYTES_MAX = 8 << 20
IDLE_MAX = 16
READ_BYTES = 256 << 10
SEND_BYTES = 256 << 10
RETRY_AFTER_MAX_S = 60.0

_BROKEN = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Answer:
    """What a store said, at which try; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)
    tries: int = 1

    def code(self) -> str:
        """The store's own name for the error, if it told one."""
        found = re.search(rb"<Code>([\w.-]{1,80})</Code>", self.body)
        return found[1].decode() if found else self.headers.get("x-ms-error-code", "")


class Cancel:
    """Ends the requests of one upload from another thread: waits return, connections break."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[http.client.HTTPConnection] = set()

    def set(self) -> None:
        self._over.set()
        with self._lock:
            for connection in self._connections:
                _shut(connection)

    def is_set(self) -> bool:
        return self._over.is_set()

    def wait(self, seconds: float) -> bool:
        return self._over.wait(seconds)

    def begin(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._connections.add(connection)
            if self._over.is_set():
                _shut(connection)

    def end(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._connections.discard(connection)


def _shut(connection: http.client.HTTPConnection) -> None:
    with suppress(OSError):
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)


Headers = Callable[[], Mapping[str, str]]


def settled(answer: Answer) -> bool:
    """Whether asking once more would change nothing."""
    return answer.status not in RETRIED and answer.code() not in DAMAGED


class Http:
    """One host of a store; used by any number of threads."""

    def __init__(self, endpoint: str, options: HttpOptions) -> None:
        parts = web_address(endpoint)
        if parts is None or parts.hostname is None:
            raise Refused(  # without the endpoint: what is wrong with it may be a key in it
                "The endpoint of a store is not right: it is like https://s3.example.com.", code="bad_endpoint"
            )
        self.scheme, self.host, self.port = parts.scheme, parts.hostname, parts.port
        self.path = parts.path.rstrip("/")
        self.authority = parts.netloc
        self._options = options
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None

    def __del__(self) -> None:
        """A sink is dropped, never closed: the connections that it has kept end with it."""
        for connection in getattr(self, "_idle", ()):
            connection.close()

    def request(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | memoryview = b"",
        *,
        cancel: Cancel | None = None,
        judge: Callable[[Answer], bool] = settled,
    ) -> Answer:
        """The store's answer, whatever its status, after as many tries as it takes for ``judge`` to take it.

        The last answer comes back if none was taken; Unavailable if there was none, or ``cancel`` was set.
        """
        cancel = cancel or Cancel()
        failure: BaseException | None = None
        answer: Answer | None = None
        for tried in range(self._options.tries_max):
            if tried and cancel.wait(self._pause_s(tried, answer)):
                break
            try:
                answer = replace(self._once(method, target, headers(), body, cancel), tries=tried + 1)
            except _BROKEN as error:
                answer, failure = None, error
                continue
            if judge(answer):
                return answer
        if answer is not None:
            return answer
        raise self.away(failure)

    def stream(self, target: str, headers: Headers) -> tuple[Answer, Chunks]:
        """The head of a GET's answer and its body, which is read as it is pulled; not tried again."""
        connection: http.client.HTTPConnection | None = None
        try:
            connection = self._taken()
            connection.request("GET", target, headers=dict(headers()))
            answer = connection.getresponse()
            head = _lowered(answer)
            if answer.status < 300:
                return Answer(answer.status, head), self._body(connection, answer)
            told = Answer(answer.status, head, answer.read(ANSWER_BYTES_MAX))
            connection.close()
        except _BROKEN as error:
            if connection is not None:
                connection.close()
            raise self.away(error) from error
        return told, _nothing()

    def _body(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> Chunks:
        whole = False
        try:
            while chunk := answer.read(READ_BYTES):
                yield chunk
            whole = answer.isclosed() or not answer.length
            if not whole:
                raise Unavailable(f"The store {self.host} broke off while a file was read.", code="store_unreachable")
        except _BROKEN as error:
            raise self.away(error) from error
        finally:
            if whole and not answer.will_close:
                self._give_back(connection)
            else:
                connection.close()

    def away(self, error: BaseException | None) -> Unavailable:
        what = "did not answer in time" if isinstance(error, TimeoutError) else "cannot be reached or broke off"
        if isinstance(error, ssl.SSLCertVerificationError):
            what = f"has no certificate that is trusted here ({error.verify_message})"
        return Unavailable(f"The store {self.host} {what}.", code="store_unreachable", detail=str(error))

    # -- one try ---------------------------------------------------------------------------------------------------

    def _once(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | memoryview, cancel: Cancel
    ) -> Answer:
        connection = self._taken()
        cancel.begin(connection)
        keep = False
        try:
            self._send(connection, method, target, headers, body)
            with connection.getresponse() as answer:
                told = answer.read(ANSWER_BYTES_MAX)
                keep = not answer.will_close and answer.isclosed()
                return Answer(answer.status, _lowered(answer), told)
        finally:
            cancel.end(connection)
            if keep:
                self._give_back(connection)
            else:
                connection.close()

    @staticmethod
    def _send(
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | memoryview,
    ) -> None:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body or method in ("PUT", "POST"):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        view = memoryview(body)
        for start in range(0, len(view), SEND_BYTES):
            connection.send(view[start : start + SEND_BYTES])

    def _pause_s(self, tried: int, answer: Answer | None) -> float:
        value = None if answer is None else answer.headers.get("retry-after")
        told = retry_after_s(value, time.time(), most_s=RETRY_AFTER_MAX_S)
        if told is not None:
            return told + random.uniform(0, 0.1)  # noqa: S311  jitter, not a secret
        longest = min(self._options.retry_first_s * 2**tried, self._options.retry_most_s)
        return random.uniform(longest / 2, longest)  # noqa: S311  jitter, not a secret

    # -- connections -----------------------------------------------------------------------------------------------

    def _taken(self) -> http.client.HTTPConnection:
        """A connection that is open: kept from before, if the other side has not ended it, or a new one."""
        while True:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            if kept is None:
                return self._connected()
            if kept.sock is not None and not _readable(kept.sock):
                return kept
            kept.close()

    def _connected(self) -> http.client.HTTPConnection:
        timeout = self._options.connect_timeout_s
        connection: http.client.HTTPConnection
        if self.scheme == "https":
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self._tls())
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        connection.sock.settimeout(self._options.timeout_s)
        return connection

    def _tls(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                try:
                    self._context = ssl.create_default_context(cafile=self._options.ca_file)
                except OSError as error:
                    raise Refused(
                        f"The authorities in {str(self._options.ca_file)!r} cannot be read; it is a file in PEM form.",
                        code="bad_ca_file",
                    ) from error
            return self._context

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < IDLE_MAX:
                self._idle.append(connection)
                return
        connection.close()


def _lowered(answer: http.client.HTTPResponse) -> dict[str, str]:
    """Its headers, names in lower case; the values of one that comes several times are joined."""
    found: dict[str, str] = {}
    for name, value in answer.getheaders():
        found[name.lower()] = f"{found[name.lower()]}, {value}" if name.lower() in found else value
    return found


def _nothing() -> Chunks:
    yield from ()


def _readable(sock: socket.socket) -> bool:
    """Whether an idle connection has something to say, which can only be its end."""
    import select

    poll = select.poll()  # unlike select(), takes descriptors above 1023
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
