"""An HTTP proxy before a real server that changes the bodies of requests, and the checksums that would reveal it: the
store behind it holds other bytes than it was sent, and reports their digest."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from own_servers import http_server

Change = Callable[[str, str, dict[str, str], bytes], bytes]
"""The body that goes on: method, target, headers (lower case, may be changed) and body of a request."""


@contextlib.contextmanager
def damaging_proxy(
    url: str, change: Change, tells: Callable[[str, bytes], dict[str, str]] = lambda target, body: {}
) -> Iterator[str]:
    """The URL of the proxy of the server at ``url`` while entered; ``tells`` returns headers that the server should
    send for a target and a body, and does not."""
    target = urlsplit(url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = change(self.command, self.path, headers, body)
            headers["content-length"] = str(len(body))
            connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
            with contextlib.closing(connection):
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "keep-alive"):
                    self.send_header(name, value)
            if answer.getheader("Content-Length") is None:
                self.send_header("Content-Length", str(len(content)))
            for name, value in tells(self.path, body).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

        def log_message(self, *args: Any) -> None: ...

    with http_server(Handler) as port:
        yield target._replace(netloc=f"127.0.0.1:{port}").geturl()
