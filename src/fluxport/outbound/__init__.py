"""Requests to other hosts: to stores, over connections that are kept, and to receivers that a caller names, over one
connection to an address that was checked.

Connections, pools, proxies and the parsing of answers are urllib3's, which is imported with the first request. What is
added here:

- A body goes out in pieces of 256 KiB, each with a time limit of its own: a receiver that is slow has not failed.
- A :class:`Cancel` ends a request wherever it waits, from another thread or after a time for all of it.
- Nothing is retried, redirected or decoded: that is for callers, who know what a request means.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult

from fluxport.errors import Refused
from fluxport.outbound.ends import Cancel, Failure
from fluxport.stages import Chunks

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse
    from urllib3.connection import HTTPConnection
    from urllib3.connectionpool import HTTPConnectionPool

    from fluxport.outbound.connections import Body

__all__ = ["RECEIVED_BYTES_MAX", "Answer", "Cancel", "Client", "Exchange", "Failure", "opened", "tls_context"]

KEPT_MAX = 64  # connections of one client that wait for their next request
READ_BYTES = 256 << 10
ANSWER_BYTES_MAX = 8 << 20
RECEIVED_BYTES_MAX = 64 << 10  # of the answer of a receiver that a caller named


@dataclass(frozen=True)
class Answer:
    """What the other side said; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)


@functools.cache
def tls_context(ca_file: str | Path | None, *, system: bool = False, protocol: str = "http/1.1") -> ssl.SSLContext:
    """Certificates and names are checked against the authorities in ``ca_file`` (PEM), and with ``system`` also those
    of the system; against the system's alone without a file.

    They are read once per process, which takes 24 ms, and once for each ``protocol``: urllib3 writes HTTP into the
    contexts that it uses.
    """
    try:
        context = ssl.create_default_context(cafile=None if system else ca_file)
        if system and ca_file is not None:
            context.load_verify_locations(ca_file)
    except OSError as error:
        raise Refused(
            f"The authorities in {str(ca_file)!r} cannot be read; it is a file in PEM form.", code="bad_ca_file"
        ) from error
    return context


class Client:
    """Requests to one host, from any number of threads; connections are kept for the next request.

    ``connect_s`` is the time for opening a connection, ``stall_s`` that for one read or one write of at most 256 KiB.
    The proxies of the environment are used (``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``), but for this machine.
    """

    def __init__(
        self, address: SplitResult, *, connect_s: float, stall_s: float, ca_file: str | Path | None = None
    ) -> None:
        self._address = address
        self._connect_s = connect_s
        self._stall_s = stall_s
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._open: tuple[HTTPConnectionPool, str] | None = None

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | memoryview = b"",
        cancel: Cancel | None = None,
    ) -> Answer:
        """The answer, whatever its status, of at most ANSWER_BYTES_MAX; Failure without one."""
        framed = {**headers, "content-length": str(len(body))} if body or method in ("PUT", "POST") else headers
        return self.send(method, target, framed, (body,) if body else None, cancel)

    def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        pieces: Iterable[bytes | memoryview] | None,
        cancel: Cancel | None = None,
    ) -> Answer:
        """The same for a body in pieces, or for None. Without a content-length it is sent in chunks as it is made;
        errors of ``pieces`` pass through as they are, and then it never ends."""
        from fluxport.outbound.connections import Body, failing

        sent = Body(pieces, self._stall_s, cancel or Cancel())
        with sent, failing(sent.cancel):
            answer = self._begun(method, target, headers, sent)
            told = answer.read(ANSWER_BYTES_MAX, decode_content=False)
            _end(answer)
            return Answer(answer.status, lowered(answer), told)

    def open(
        self, target: str, headers: Mapping[str, str], *, method: str = "GET", body: bytes = b"", prompt: bool = False
    ) -> tuple[Answer, Chunks]:
        """The head of an answer, and its body, which is read as it is pulled; that of an error is in the head.
        ``prompt``: its bytes are given as they come, not in pieces of READ_BYTES."""
        from fluxport.outbound.connections import Body, failing

        sent = Body((body,) if body else None, self._stall_s, Cancel())
        framed = {**headers, "content-length": str(len(body))} if body else headers
        with failing(sent.cancel):
            answer = self._begun(method, target, framed, sent)
            if answer.status < 300:
                return Answer(answer.status, lowered(answer)), _chunks(answer, prompt)
            told = answer.read(ANSWER_BYTES_MAX, decode_content=False)
            _end(answer)
            return Answer(answer.status, lowered(answer), told), _nothing()

    def _begun(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> BaseHTTPResponse:
        from urllib3 import Timeout

        pool, root = self._pool()
        answer = pool.urlopen(
            method,
            root + target,
            body,  # type: ignore[arg-type]  # views are sent as bytes are
            {"user-agent": "Fluxport", **headers},
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=Timeout(connect=self._connect_s, read=self._stall_s),
            preload_content=False,
            decode_content=False,
        )
        if body.cancel.is_set():
            answer.close()
            body.cancel.check()
        return answer

    def _pool(self) -> tuple[HTTPConnectionPool, str]:
        """The pool, and what a target begins with there: a proxy for plain HTTP takes whole URLs."""
        with self._lock:
            if self._open is None:
                # It warns of each connection beyond those that are kept, and its debug lines have whole URLs.
                logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
                self._open = self._made()
            return self._open

    def _made(self) -> tuple[HTTPConnectionPool, str]:
        from fluxport.outbound.connections import POOLS, proxied

        scheme, host, port = self._address.scheme, self._address.hostname or "", self._address.port
        given: dict[str, Any] = {} if scheme == "http" else {"ssl_context": tls_context(self._ca_file)}
        if proxy := _proxy(scheme, host, self._address.netloc):
            pool = proxied(proxy, scheme, host, port, maxsize=KEPT_MAX, **given)
            return pool, f"{scheme}://{self._address.netloc}" if scheme == "http" else ""
        return POOLS[scheme](host, port, maxsize=KEPT_MAX, **given), ""


class Exchange:
    """One request over a connection that was opened to a checked address."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Iterable[bytes | memoryview],
        *,
        stall_s: float,
        cancel: Cancel,
    ) -> Answer:
        """The answer, of whose body RECEIVED_BYTES_MAX are read; ``headers`` say how long ``body`` is. Failure without
        one. Errors of ``body`` pass through as they are, and the connection ends before the whole has gone out."""
        from fluxport.outbound.connections import Body, failing

        connection = self._connection
        with Body(body, stall_s, cancel) as sent, failing(cancel):
            how: dict[str, Any] = {"body": sent, "preload_content": False, "decode_content": False}
            with suppress(BrokenPipeError, ConnectionResetError):  # an answer may have come before all was taken
                connection.request(method, target, headers={**headers, "connection": "close"}, **how)
            with closing(connection.getresponse()) as answer:
                cancel.check()
                # A receiver whose answer is cut off may undo what it did: give it the chance to send a short one.
                with suppress(Failure), failing(cancel):
                    answer.read(RECEIVED_BYTES_MAX, decode_content=False)
            return Answer(answer.status, lowered(answer))


@contextmanager
def opened(
    name: str, addresses: Sequence[tuple[str, int]], *, encrypted: bool, ca_file: str | None, connect_s: float
) -> Iterator[Exchange]:
    """A connection to the first address and port that takes one; each gets its share of ``connect_s``.

    No name is looked up and no proxy used. With TLS the certificate must be one for ``name``. Failure if none takes it.
    """
    from fluxport.outbound.connections import Encrypted, Plain, failing

    until = time.monotonic() + connect_s
    for left, (address, port) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        share_s = max((until - time.monotonic()) / left, 0.001)
        connection: HTTPConnection = Plain(address, port, timeout=share_s)
        if encrypted:
            context = tls_context(ca_file, system=True)
            connection = Encrypted(address, port, timeout=share_s, ssl_context=context, server_hostname=name)
        try:
            with failing(Cancel()):
                connection.connect()
        except Failure:
            connection.close()
            if left == 1:
                raise
            continue
        with closing(connection):
            yield Exchange(connection)
        return
    raise AssertionError("there is at least one address")


def lowered(answer: BaseHTTPResponse) -> dict[str, str]:
    """Its headers; the values of one that comes several times are joined."""
    return {name.lower(): value for name, value in answer.headers.items()}


def _proxy(scheme: str, host: str, authority: str) -> str | None:
    """The proxy that the environment names for this host; None for this machine and what NO_PROXY covers."""
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    found = proxies.get(scheme) or proxies.get("all")
    if not found or _is_here(host) or proxy_bypass(authority):
        return None
    return found if "://" in found else f"http://{found}"


def _is_here(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _chunks(answer: BaseHTTPResponse, prompt: bool) -> Chunks:
    """Failure if it breaks off before its end."""
    from fluxport.outbound.connections import failing

    read: Callable[..., bytes] = answer.read1 if prompt else answer.read
    try:
        with failing(Cancel()):
            while chunk := read(READ_BYTES, decode_content=False):
                yield chunk
    finally:
        _end(answer)


def _end(answer: BaseHTTPResponse) -> None:
    """Give the connection back; one that has more to say is closed."""
    answer.close()
    answer.release_conn()


def _nothing() -> Chunks:
    yield from ()
