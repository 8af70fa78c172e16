"""HTTP requests to other hosts: to stores, over pooled connections, and to receivers that a caller chooses, over one
connection to a checked address.

Connections, pools, proxies and response parsing come from urllib3, which is imported with the first request. This
package adds:

- A body is sent in pieces of 256 KiB, each with its own time limit: a slow receiver is not a failed one.
- A :class:`Cancel` aborts a request wherever it waits, from another thread or after a total time limit.
- Nothing is retried, redirected or decoded: callers decide, because they know what a request means.
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

__all__ = ["RECEIVED_BYTES_MAX", "Cancel", "Client", "Exchange", "Failure", "Response", "opened", "tls_context"]

IDLE_MAX = 64  # idle connections in the pool of one client
READ_BYTES = 256 << 10
RESPONSE_BYTES_MAX = 8 << 20
RECEIVED_BYTES_MAX = 64 << 10  # limit for the response of a receiver that a caller chose


@dataclass(frozen=True)
class Response:
    """An HTTP response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)


@functools.cache
def tls_context(ca_file: str | Path | None, *, system: bool = False, protocol: str = "http/1.1") -> ssl.SSLContext:
    """A context that verifies certificates and host names against the authorities in ``ca_file`` (PEM), with ``system``
    also against the system's; without a file against the system's alone.

    Cached, because loading takes 24 ms; one per ``protocol``, because urllib3 sets the ALPN protocols of its contexts.
    """
    try:
        context = ssl.create_default_context(cafile=None if system else ca_file)
        if system and ca_file is not None:
            context.load_verify_locations(ca_file)
    except OSError as error:
        raise Refused(
            f"The authorities in {str(ca_file)!r} cannot be read; use a file in PEM format.", code="bad_ca_file"
        ) from error
    return context


class Client:
    """Requests to one host, from any number of threads, over pooled connections.

    ``connect_s`` limits opening a connection, ``stall_s`` one read or one write of at most 256 KiB. The proxies of the
    environment apply (``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``), except for the local machine.
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

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | memoryview = b"",
        cancel: Cancel | None = None,
    ) -> Response:
        """The response, whatever its status, with at most RESPONSE_BYTES_MAX of its body; Failure if there is none."""
        framed = {**headers, "content-length": str(len(body))} if body or method in ("PUT", "POST") else headers
        return self.send(method, target, framed, (body,) if body else None, cancel)

    def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        pieces: Iterable[bytes | memoryview] | None,
        cancel: Cancel | None = None,
    ) -> Response:
        """The same for a body in pieces, or None. Without a content-length it is sent in chunks as it is produced.
        Errors of ``pieces`` propagate unchanged; the body is then left unterminated."""
        from fluxport.outbound.connections import Body, failing

        sent = Body(pieces, self._stall_s, cancel or Cancel())
        with sent, failing(sent.cancel):
            response = self._start(method, target, headers, sent)
            data = response.read(RESPONSE_BYTES_MAX, decode_content=False)
            _end(response)
            return Response(response.status, lowered(response), data)

    def open(
        self, target: str, headers: Mapping[str, str], *, method: str = "GET", body: bytes = b"", prompt: bool = False
    ) -> tuple[Response, Chunks]:
        """The head of a response, and its body, which is read as it is pulled; the body of an error is in the head.
        ``prompt``: yield bytes as they arrive, not in pieces of READ_BYTES."""
        from fluxport.outbound.connections import Body, failing

        sent = Body((body,) if body else None, self._stall_s, Cancel())
        framed = {**headers, "content-length": str(len(body))} if body else headers
        with failing(sent.cancel):
            response = self._start(method, target, framed, sent)
            if response.status < 300:
                return Response(response.status, lowered(response)), _chunks(response, prompt)
            data = response.read(RESPONSE_BYTES_MAX, decode_content=False)
            _end(response)
            return Response(response.status, lowered(response), data), _nothing()

    def _start(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> BaseHTTPResponse:
        from urllib3 import Timeout

        pool, root = self._pool()
        response = pool.urlopen(
            method,
            root + target,
            body,  # type: ignore[arg-type]  # views are sent like bytes
            {"user-agent": "Fluxport", **headers},
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=Timeout(connect=self._connect_s, read=self._stall_s),
            preload_content=False,
            decode_content=False,
        )
        if body.cancel.is_set():
            response.close()
            body.cancel.check()
        return response

    def _pool(self) -> tuple[HTTPConnectionPool, str]:
        """The pool, and the prefix of its targets: a proxy for plain HTTP requires absolute URLs."""
        with self._lock:
            if self._open is None:
                # urllib3 warns of each connection beyond the pool, and its debug lines include whole URLs.
                logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
                self._open = self._new_pool()
            return self._open

    def _new_pool(self) -> tuple[HTTPConnectionPool, str]:
        from fluxport.outbound.connections import POOLS, proxied

        scheme, host, port = self._address.scheme, self._address.hostname or "", self._address.port
        tls: dict[str, Any] = {} if scheme == "http" else {"ssl_context": tls_context(self._ca_file)}
        if proxy := _proxy(scheme, host, self._address.netloc):
            pool = proxied(proxy, scheme, host, port, maxsize=IDLE_MAX, **tls)
            return pool, f"{scheme}://{self._address.netloc}" if scheme == "http" else ""
        return POOLS[scheme](host, port, maxsize=IDLE_MAX, **tls), ""


class Exchange:
    """One request over a connection to a checked address."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Iterable[bytes | memoryview],
        *,
        stall_s: float,
        cancel: Cancel,
    ) -> Response:
        """The response, reading at most RECEIVED_BYTES_MAX of its body; Failure if there is none. ``headers`` include
        the length of ``body``. Errors of ``body`` propagate unchanged, and the connection closes with the body
        incomplete.
        """
        from fluxport.outbound.connections import Body, failing

        connection = self._connection
        with Body(body, stall_s, cancel) as sent, failing(cancel):
            options: dict[str, Any] = {"body": sent, "preload_content": False, "decode_content": False}
            with suppress(BrokenPipeError, ConnectionResetError):  # a response may arrive before the whole body is sent
                connection.request(method, target, headers={**headers, "connection": "close"}, **options)
            with closing(connection.getresponse()) as response:
                cancel.check()
                # A receiver may roll back if it cannot send its response: read a short one completely.
                with suppress(Failure), failing(cancel):
                    response.read(RECEIVED_BYTES_MAX, decode_content=False)
            return Response(response.status, lowered(response))


@contextmanager
def opened(
    name: str, addresses: Sequence[tuple[str, int]], *, encrypted: bool, ca_file: str | None, connect_s: float
) -> Iterator[Exchange]:
    """A connection to the first address and port that accepts one; each gets its share of ``connect_s``.

    No name is resolved and no proxy used. With TLS the certificate must match ``name``. Failure if none accepts.
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


def lowered(response: BaseHTTPResponse) -> dict[str, str]:
    """The headers, names in lower case; the values of a repeated one are joined."""
    return {name.lower(): value for name, value in response.headers.items()}


def _proxy(scheme: str, host: str, authority: str) -> str | None:
    """The environment's proxy for this host; None for the local machine and hosts in NO_PROXY."""
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or _is_local(host) or proxy_bypass(authority):
        return None
    return url if "://" in url else f"http://{url}"


def _is_local(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _chunks(response: BaseHTTPResponse, prompt: bool) -> Chunks:
    """The body in chunks; Failure if the connection is lost before its end."""
    from fluxport.outbound.connections import failing

    read: Callable[..., bytes] = response.read1 if prompt else response.read
    try:
        with failing(Cancel()):
            while chunk := read(READ_BYTES, decode_content=False):
                yield chunk
    finally:
        _end(response)


def _end(response: BaseHTTPResponse) -> None:
    """Return the connection to the pool; close it if its response has unread bytes."""
    response.close()
    response.release_conn()


def _nothing() -> Chunks:
    yield from ()
