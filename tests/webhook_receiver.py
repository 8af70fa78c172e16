"""A configurable receiver of webhooks, over HTTP or HTTPS."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]  # by lowercase name
    body: bytes


@dataclass
class Receiver:
    """The requests received, and their host names; ``ended`` stops endless responses."""

    port: int
    requests: list[Received] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)  # of SNI
    sent_bytes: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def resolve(self, _host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        """A resolver that answers with this receiver's address for every name."""
        return resolved("127.0.0.1", port)


Answer: TypeAlias = "Callable[[Receiver, http.server.BaseHTTPRequestHandler], None]"


def resolved(address: str, port: int) -> list[tuple[Any, ...]]:
    """One answer in the form of ``socket.getaddrinfo``."""
    if ":" in address:
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))]
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"ok") -> Answer:
    """A short answer."""

    def answer(_: Receiver, request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def hang(receiver: Receiver, _: http.server.BaseHTTPRequestHandler) -> None:
    """No answer at all."""
    receiver.ended.wait()


def drip(head: bytes) -> Answer:
    """``head`` at once, then one byte after the other, endlessly."""

    def answer(receiver: Receiver, request: http.server.BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            request.wfile.write(head)
            while not receiver.ended.wait(0.02):
                request.wfile.write(b"x")

    return answer


def flood(head: bytes, block: bytes, size_bytes: int = 1 << 30) -> Answer:
    """``head`` and as many ``block`` as are read, up to ``size_bytes``."""

    def answer(receiver: Receiver, request: http.server.BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            request.wfile.write(head)
            while receiver.sent_bytes < size_bytes:
                request.wfile.write(block)
                receiver.sent_bytes += len(block)

    return answer


def broken(text: bytes) -> Answer:
    """``text`` as it is, then the end of the connection."""

    def answer(_: Receiver, request: http.server.BaseHTTPRequestHandler) -> None:
        request.wfile.write(text)

    return answer


@contextmanager
def receiving(
    answer: Answer, context: ssl.SSLContext | None = None, address: str = "127.0.0.1", port: int = 0
) -> Iterator[Receiver]:
    """A receiver on ``address`` that sends every request the same response."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append(Received(self.path, headers, body))
            answer(receiver, self)

        def log_message(self, *_: Any) -> None:
            """Nothing on standard error."""

    server = _Server((address, port), Handler)
    receiver = Receiver(server.server_address[1])
    if context is not None:
        context.sni_callback = lambda _, name, __: receiver.names.append(name)
        server.context = context
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        # The handshake belongs to the connection's own thread, and a client may break it off.
        if self.context is None:
            super().finish_request(request, client_address)
            return
        with suppress(OSError):
            with self.context.wrap_socket(request, server_side=True) as encrypted:
                super().finish_request(encrypted, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that disconnect are part of the tests."""
