"""Files uploaded to a caller's URL: one PUT with its length, under the rules for callers' URLs."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from fluxport.delivery.push import Upload, check_upload, send_file
from fluxport.delivery.webhook import WebhookOptions
from fluxport.errors import Broken, FluxportError, Refused, Unavailable
from fluxport.stages import Chunks
from own_servers import http_server

FILE = bytes(range(256)) * 10_000
HERE = WebhookOptions(allow=("127.0.0.1",), http_allowed=True)


@dataclass
class Taken:
    """What the receiver got, and how it responds."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/bucket/file.csv?X-Amz-Signature=abc"


@pytest.fixture
def taken() -> Iterator[Taken]:
    reported = Taken()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            reported.heads.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
            reported.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(reported.status)
            for name, value in reported.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            with contextlib.suppress(OSError):
                self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    with http_server(Handler) as port:
        reported.port = port
        yield reported


def pieces(data: bytes = FILE) -> Chunks:
    for start in range(0, len(data), 100_000):
        yield memoryview(data)[start : start + 100_000]


def push(url: str, options: WebhookOptions = HERE, data: bytes = FILE, **headers: str) -> None:
    send_file(
        options,
        Upload(url, {name.replace("_", "-"): value for name, value in headers.items()}),
        pieces(data),
        size_bytes=len(FILE),
        sha256=hashlib.sha256(FILE).hexdigest(),
        media_type="text/csv",
        now=0.0,
    )


def test_the_file_arrives_whole_by_one_put(taken: Taken) -> None:
    """Path and query are as signed, the length is sent, and so are the caller's headers."""
    push(taken.url, x_amz_acl="private", Content_Type="text/plain")
    assert taken.bodies == [FILE]
    (head,) = taken.heads
    assert head["path"] == "/bucket/file.csv?X-Amz-Signature=abc"
    assert head["content-length"] == str(len(FILE))
    assert (head["content-type"], head["x-amz-acl"]) == ("text/plain", "private")


def test_an_empty_file_arrives_too(taken: Taken) -> None:
    empty = hashlib.sha256(b"").hexdigest()
    send_file(HERE, Upload(taken.url), pieces(b""), size_bytes=0, sha256=empty, media_type="text/csv", now=0.0)
    assert taken.bodies == [b""]


def test_a_file_that_is_not_the_promised_one_never_arrives_whole(taken: Taken) -> None:
    """Its last bytes are not sent, and the connection breaks."""
    with pytest.raises(Broken):
        push(taken.url, data=FILE[:-1] + b"X")
    assert FILE not in taken.bodies


@pytest.mark.parametrize(
    ("status", "kind"), [(403, Refused), (404, Refused), (307, Refused), (500, Unavailable), (429, Unavailable)]
)
def test_the_response_decides_whether_it_is_retried(taken: Taken, status: int, kind: type[FluxportError]) -> None:
    """An expired URL is not; a failing receiver is, after its Retry-After. No redirect is followed."""
    taken.status, taken.headers = status, {"Retry-After": "7", "Location": "http://127.0.0.1/elsewhere"}
    with pytest.raises(kind) as caught:
        push(taken.url)
    assert "X-Amz-Signature" not in str(caught.value)
    assert caught.value.retry_after_s == (7.0 if kind is Unavailable else None)
    assert len(taken.bodies) == 1


@pytest.mark.parametrize(
    "url",
    ["http://example.com/x", "https://127.0.0.1/x", "https://169.254.169.254/x", "https://localhost/x", "ftp://a.b"],
)
def test_urls_that_may_not_be_reached_are_refused_when_they_are_named(url: str) -> None:
    with pytest.raises(Refused):
        check_upload(WebhookOptions(), Upload(url))


def test_a_name_that_resolves_to_an_internal_address_is_refused(taken: Taken) -> None:
    """Its addresses are checked, whatever the name."""
    with pytest.raises(Refused, match="upload's host") as caught:
        send_file(
            WebhookOptions(http_allowed=True),
            Upload(f"http://files.example.com:{taken.port}/x"),
            pieces(),
            size_bytes=len(FILE),
            sha256="",
            media_type="text/csv",
            now=0.0,
            resolve=lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", taken.port))],
        )
    assert caught.value.code == "upload_not_public"
    assert not taken.bodies


@pytest.mark.parametrize(
    "headers", [{"Host": "other"}, {"Authorization": "x"}, {"Transfer-Encoding": "chunked"}, {"x-amz-acl": "a\r\nb: c"}]
)
def test_headers_that_no_signed_url_needs_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refused):
        check_upload(WebhookOptions(), Upload("https://files.example.com/x", headers))
