"""Requests to other hosts: proxies of the environment, and requests that another thread ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import pytest

from fluxport.outbound import Cancel, Client, Failure
from own_servers import http_server


class Proxy:
    """A proxy that responds for every host, and records the request lines."""

    def __init__(self) -> None:
        self.request_lines: list[str] = []
        self.accounts: list[str | None] = []
        self.port = 0


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    found = Proxy()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.request_lines.append(f"{self.command} {self.path}")
            found.accounts.append(self.headers.get("Proxy-Authorization"))
            self.send_response(200 if self.command == "GET" else 403)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"proxy")

        def do_CONNECT(self) -> None:
            self.do_GET()

        def log_message(self, *args: Any) -> None: ...

    with http_server(Handler) as port:
        found.port = port
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{port}")
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        yield found


def client(url: str) -> Client:
    return Client(urlsplit(url), connect_s=5, stall_s=5)


def test_a_host_is_reached_through_the_proxy_of_the_environment(proxy: Proxy) -> None:
    """The proxy gets the absolute URL, and the credentials of its own URL."""
    answer = client("http://store.invalid:8080").request("GET", "/bucket/key?x=1", {"host": "store.invalid:8080"})
    assert answer.body == b"proxy"
    assert proxy.request_lines == ["GET http://store.invalid:8080/bucket/key?x=1"]
    assert proxy.accounts == ["Basic dXNlcjpwYXNz"]


def test_with_tls_the_proxy_provides_a_tunnel(proxy: Proxy) -> None:
    """A refused tunnel is a failure, not a response of the store."""
    with pytest.raises(Failure) as caught:
        client("https://store.invalid").request("GET", "/", {})
    assert caught.value.kind == "connection"
    assert proxy.request_lines == ["CONNECT store.invalid:443"]


def test_no_proxy_is_used_for_hosts_in_no_proxy(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", ".invalid")
    with pytest.raises(Failure):
        client("http://store.invalid").request("GET", "/", {})
    assert proxy.request_lines == []


def test_this_machine_is_reached_without_a_proxy(proxy: Proxy) -> None:
    answer = client(f"http://127.0.0.1:{proxy.port}").request("GET", "/here", {})
    assert answer.status == 200
    assert proxy.request_lines == ["GET /here"]


def test_a_connection_is_used_again_and_replaced_once_the_other_side_has_ended_it() -> None:
    """Without an error for the caller."""
    peers: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            peers.append(self.client_address)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
            self.close_connection = self.path == "/last"

        def log_message(self, *args: Any) -> None: ...

    with http_server(Handler) as port:
        asking = client(f"http://127.0.0.1:{port}")
        for path in ("/", "/last", "/"):
            assert asking.request("GET", path, {}).body == b"ok"
    assert peers[0] == peers[1]
    assert peers[2] != peers[1]


@pytest.mark.parametrize("body", [b"", b"x" * (64 << 20)], ids=["waiting for the answer", "sending"])
def test_another_thread_ends_a_request_wherever_it_waits(body: bytes) -> None:
    """Long before its own limits."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asking = Client(urlsplit(f"http://127.0.0.1:{silent.getsockname()[1]}"), connect_s=600, stall_s=600)
        cancel = Cancel()
        failed: list[Failure] = []

        def ask() -> None:
            try:
                asking.request("PUT", "/", {}, body, cancel)
            except Failure as error:
                failed.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        with silent.accept()[0] as other:
            other.recv(1)
            cancel.set()
            thread.join(60)
        assert not thread.is_alive()
    assert [error.kind for error in failed] == ["connection"]
