"""A WebDAV server that refuses, ends early or loses responses; what every sink does is in tests/contract/."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from fluxport.errors import Broken, FluxportError, Refused, StoreFull, Unavailable
from fluxport.settings import Secret
from fluxport.sinks.webdav import WebdavOptions, WebdavSink
from own_servers import http_server
from store_support import QUICK, webdav_options
from webdav_server import Webdav


def watched(pulled: list[int]) -> Iterator[bytes]:
    pulled.append(1)
    yield b"x"


@pytest.mark.parametrize(
    ("changed", "folder", "code"),
    [({"password": Secret("wrong")}, "", "store_denied"), ({}, "no-such-folder", "not_writable")],
    ids=["another password", "no folder"],
)
def test_what_the_server_does_not_allow_is_refused(
    webdav: Webdav, changed: dict[str, Any], folder: str, code: str
) -> None:
    """A wrong password before anything is pulled."""
    options = WebdavOptions(**{**vars(webdav_options(webdav, folder)), **changed})
    pulled: list[int] = []
    with pytest.raises(Refused) as caught:
        WebdavSink(options).put("file.csv", (chunk for chunk in watched(pulled)))
    assert caught.value.code == code
    assert pulled == ([] if code == "store_denied" else [1])


class Dav:
    """A server with files, and for each method a response to send once."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.after: dict[str, int | None] = {}  # by method: the status after the work is done; None, no answer
        self.instead: dict[str, int] = {}
        self.lost = 0  # bytes of each file that it does not keep
        self.size = "{}"  # how it writes sizes
        self.time = ""  # a time for every file
        self.accounts: set[str | None] = set()


@pytest.fixture
def dav() -> Iterator[tuple[Dav, str]]:
    found = Dav()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            whole = b""
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole

        def answer(self, status: int, text: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do(self) -> None:
            found.accounts.add(self.headers.get("Authorization"))
            body, path, method = self.body(), self.path, self.command
            if method in found.instead:
                self.answer(found.instead[method])
                return
            status = self.done(method, path, body)
            if method not in found.after:
                self.answer(*status)
            elif (given := found.after.pop(method)) is None:
                self.close_connection = True
            else:
                self.answer(given)

        def done(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
            if method == "PUT":
                found.files[path] = body[: len(body) - found.lost]
                return 201, b""
            if method == "MOVE":
                target = re.sub(r"^http://[^/]+", "", self.headers["Destination"])
                if path not in found.files:
                    return 404, b""
                found.files[target] = found.files.pop(path)
                return 201, b""
            if method == "PROPFIND":
                inside = [
                    name for name in found.files if name == path or (path.endswith("/") and name.startswith(path))
                ]
                listed = "".join(
                    f"<d:response><d:href>{name}</d:href><d:propstat><d:prop>"
                    f"<d:getcontentlength>{found.size.format(len(found.files[name]))}</d:getcontentlength>"
                    f"<d:getetag>e</d:getetag><d:getlastmodified>{found.time}</d:getlastmodified>"
                    "</d:prop></d:propstat></d:response>"
                    for name in inside
                )
                found_some = f'<d:multistatus xmlns:d="DAV:">{listed}</d:multistatus>'.encode()
                return (207, found_some) if inside else (404, b"")
            if method == "DELETE":
                return (204 if found.files.pop(path, None) is not None else 404), b""
            return (201 if method == "MKCOL" else 404), b""

        def log_message(self, *args: Any) -> None: ...

    for method in ("PUT", "MOVE", "PROPFIND", "DELETE", "MKCOL"):
        setattr(Handler, f"do_{method}", Handler.do)
    with http_server(Handler) as port:
        yield found, f"http://127.0.0.1:{port}/dav"


def sink(url: str, **more: Any) -> WebdavSink:
    return WebdavSink(WebdavOptions(url=url, **{**QUICK, **more}))


def once(data: bytes = b"a,b\n1,2\n") -> Iterator[bytes]:
    yield data


def test_a_bearer_token_goes_with_every_request(dav: tuple[Dav, str]) -> None:
    found, url = dav
    sink(url, token=Secret("a-token")).put("file.csv", (chunk for chunk in once()))
    assert found.files == {"/dav/file.csv": b"a,b\n1,2\n"}
    assert found.accounts == {"Bearer a-token"}


@pytest.mark.parametrize("time_", ["", "yesterday", "Mon, 99 Nov 2026 25:00:00 GMT", "Mon, 30 Nov 99999 10:00:00 GMT"])
def test_a_sweep_leaves_a_file_whose_time_the_server_does_not_say(dav: tuple[Dav, str], time_: str) -> None:
    server, url = dav
    server.time = time_
    store = sink(url)
    store.put("file.csv", (chunk for chunk in once()))
    assert store.sweep(3600, time.time() + 86400) == []
    assert list(server.files) == ["/dav/file.csv"]


@pytest.mark.parametrize("after", [None, 503], ids=["no answer", "503"])
def test_a_move_whose_answer_is_lost_has_happened(dav: tuple[Dav, str], after: int | None) -> None:
    """The second attempt sees nothing to move, and the file under its name."""
    found, url = dav
    found.after["MOVE"] = after
    receipt = sink(url).put("file.csv", (chunk for chunk in once()))
    assert receipt.location == f"{url}/file.csv"
    assert found.files == {"/dav/file.csv": b"a,b\n1,2\n"}


@pytest.mark.parametrize(
    ("method", "status", "kind"),
    [("PUT", 507, StoreFull), ("PUT", 413, Refused), ("MKCOL", 409, Refused), ("MOVE", 423, Unavailable)],
)
def test_what_fails_leaves_nothing(dav: tuple[Dav, str], method: str, status: int, kind: type[FluxportError]) -> None:
    found, url = dav
    found.instead[method] = status
    with pytest.raises(kind):
        sink(url).put("dir/file.csv", (chunk for chunk in once()))
    assert found.files == {}


def test_a_server_that_stores_less_than_it_was_sent_is_detected(dav: tuple[Dav, str]) -> None:
    """As some do with bodies that have no length."""
    found, url = dav
    found.lost = 3
    with pytest.raises(Unavailable, match="holds 5 of the 8 bytes") as caught:
        sink(url).put("file.csv", (chunk for chunk in once()))
    assert caught.value.code == "store_differs"
    assert found.files == {}


@pytest.mark.parametrize("size", ["", "{} bytes", "-{}", "²"])
def test_a_server_that_does_not_say_what_it_holds_has_not_stored_it(dav: tuple[Dav, str], size: str) -> None:
    found, url = dav
    found.size = size
    with pytest.raises(Unavailable) as caught:
        sink(url).put("file.csv", (chunk for chunk in once()))
    assert caught.value.code == "store_differs"
    assert found.files == {}


def test_a_file_of_unknown_size_is_not_read_as_an_empty_one(dav: tuple[Dav, str]) -> None:
    found, url = dav
    store = sink(url)
    receipt = store.put("file.csv", (chunk for chunk in once()))
    found.size = "{} bytes"
    with pytest.raises(Broken, match="does not report the size"):
        b"".join(store.open(receipt.location))
