"""Extensions of urllib3's connections; the only module that uses its classes."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from urllib3 import ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError, ProxySchemeUnknown
from urllib3.exceptions import TimeoutError as PoolTimeout
from urllib3.util import make_headers, parse_url

from fluxport.errors import Refused
from fluxport.outbound.ends import Cancel, Failure

SEND_BYTES = 256 << 10
BROKEN = (OSError, http.client.HTTPException, HTTPError)


class Body:
    """The pieces of a body (None: no body), and the Cancel of its request; a context manager for the request."""

    def __init__(self, pieces: Iterable[bytes | memoryview] | None, stall_s: float, cancel: Cancel) -> None:
        self.pieces = pieces
        self.stall_s = stall_s
        self.cancel = cancel
        self._sock: socket.socket | None = None
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[memoryview]:
        pieces = iter(self.pieces or ())
        while (piece := self._next(pieces)) is not None:
            view = memoryview(piece)
            for start in range(0, len(view), SEND_BYTES):
                yield view[start : start + SEND_BYTES]

    def _next(self, pieces: Iterator[bytes | memoryview]) -> bytes | memoryview | None:
        try:
            return next(pieces, None)
        except BaseException as error:
            self._error = error
            raise

    def __enter__(self) -> Body:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._sock is not None:
            self.cancel.end(self._sock)
        # An error of the pieces is not a failure of the connection, even if urllib3 wrapped it in one.
        if self._error is not None and self._error is not error:
            raise self._error

    def begin(self, sock: socket.socket) -> None:
        self._sock = sock
        self.cancel.begin(sock)


class Plain(HTTPConnection):
    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        super().request(method, url, _started(self, body), headers, **options)


class Encrypted(HTTPSConnection):
    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        super().request(method, url, _started(self, body), headers, **options)


def _started(connection: HTTPConnection, body: Any) -> Any:
    """The body to send. From here on the connection's time limit applies to each piece, and a Cancel can abort it."""
    if not isinstance(body, Body):
        return body
    if connection.sock is None:
        connection.connect()
    connection.timeout = body.stall_s
    body.begin(connection.sock)
    return None if body.pieces is None else body


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = Plain


class _EncryptedPool(HTTPSConnectionPool):
    ConnectionCls = Encrypted


POOLS: Mapping[str, type[HTTPConnectionPool]] = {"http": _PlainPool, "https": _EncryptedPool}


def proxied(proxy: str, scheme: str, host: str, port: int | None, **options: Any) -> HTTPConnectionPool:
    """A pool for the host, with connections through the proxy."""
    account = parse_url(proxy).auth
    try:
        manager = ProxyManager(
            proxy, proxy_headers=make_headers(proxy_basic_auth=account) if account else None, **options
        )
    except ProxySchemeUnknown:
        raise Refused(
            "The proxy of the environment is not an HTTP proxy; use a URL such as http://proxy.example.com:3128.",
            code="bad_proxy",
        ) from None
    manager.pool_classes_by_scheme = dict(POOLS)
    return manager.connection_from_host(host, port, scheme)


@contextmanager
def failing(cancel: Cancel) -> Iterator[None]:
    """Translate errors of the connection into Failure."""
    try:
        yield
    except BROKEN as error:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise Failure("certificate", cause.verify_message) from error
        late = cancel.late or any(map(_is_late, causes))
        raise Failure("timeout" if late else "connection", _reason(causes[-1])) from error


def _reason(cause: BaseException) -> str:
    if isinstance(cause, http.client.IncompleteRead):
        return "it ended before the response did"
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)


def _is_late(error: BaseException) -> bool:
    # In urllib3's class hierarchy a refused connection is a timeout, too.
    return isinstance(error, TimeoutError | PoolTimeout) and not isinstance(error, NewConnectionError)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: urllib3 stores them in ``args``."""
    yield error
    for cause in (*error.args, error.__cause__):
        if isinstance(cause, BaseException):
            yield from _causes(cause)
