"""Uploads of a stored file by one PUT to a URL of the caller: a presigned URL of S3, OSS, GCS or Azure.

The rules of webhooks apply (targets.py): only public addresses, a connection to a checked one, no redirect, no proxy.
The request has a Content-Length, as presigned URLs require. If the file cannot be read to its end, the connection is
aborted, so that no receiver accepts a truncated file.
"""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from fluxport.delivery._reach import Resolve, reached, requested_wait_s
from fluxport.delivery.targets import AllowList, Target, check_name, read_target
from fluxport.delivery.webhook import WebhookOptions
from fluxport.errors import Broken, Refused, Unavailable
from fluxport.outbound import Cancel
from fluxport.stages import Chunks

HEADERS_MAX = 16
CONNECT_S = 15.0
STALL_S = 60.0  # for one write, and for the response

_OF = "upload"
# Headers that presigned URLs may require; none that control the connection or authenticate a caller.
_HEADER = re.compile(
    r"content-(type|disposition|encoding|language|md5)|cache-control|if-none-match|x-(amz|oss|goog|ms)-[a-z0-9-]{1,64}"
)
_VALUE = re.compile(r"[ -~]{1,1024}")


@dataclass(frozen=True)
class Upload:
    """The URL to upload a file to, and the headers that it was signed with."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def check_upload(options: WebhookOptions, upload: Upload) -> None:
    """Refused if URL or headers are invalid, without resolving the name."""
    check_name(read_target(upload.url, http_allowed=options.http_allowed, of=_OF), AllowList(options.allow))
    if len(upload.headers) > HEADERS_MAX:
        raise Refused(f"An upload has at most {HEADERS_MAX} headers.", code="bad_upload")
    for name, value in upload.headers.items():
        if not _HEADER.fullmatch(name.lower()) or not _VALUE.fullmatch(value):
            raise Refused(f"The upload's header {name[:80]!r} is not a header of presigned URLs.", code="bad_upload")


def send_file(
    options: WebhookOptions,
    upload: Upload,
    chunks: Chunks,
    *,
    size_bytes: int,
    sha256: str,
    media_type: str,
    now: float,
    resolve: Resolve = socket.getaddrinfo,
) -> None:
    """Send the file once. Refused if the receiver rejects it, Unavailable for temporary errors."""
    target = read_target(upload.url, http_allowed=options.http_allowed, of=_OF)
    cancel = Cancel()
    with closing(chunks), closing(cancel):
        body = _body(chunks, size_bytes, sha256, cancel)
        lines = _head(target, upload, size_bytes, media_type)
        late = "did not accept the file in time"
        allow = AllowList(options.allow)
        with reached(target, allow, options.ca_file, resolve, connect_s=CONNECT_S, late=late) as receiver:
            response = receiver.request("PUT", target.path, lines, body, stall_s=STALL_S, cancel=cancel)
    _judge(target, response.status, requested_wait_s(response, now))


def _head(target: Target, upload: Upload, size_bytes: int, media_type: str) -> dict[str, str]:
    signed = {name.lower(): value for name, value in upload.headers.items()}
    # Azure requires this header, and no signature covers it.
    azure = {"x-ms-blob-type": "BlockBlob"} if target.host.endswith(".blob.core.windows.net") else {}
    return {
        "host": target.authority,
        "user-agent": "Fluxport",
        "content-type": media_type,
        **azure,
        **signed,
        "content-length": str(size_bytes),
    }


def _body(chunks: Chunks, size_bytes: int, sha256: str, cancel: Cancel) -> Iterator[memoryview]:
    """The whole file; its last chunk is sent only if size and SHA-256 match. Then a response is due within STALL_S."""
    digest, sent = hashlib.sha256(), 0
    last: bytes | memoryview = b""
    for chunk in chunks:
        digest.update(chunk)
        sent += len(chunk)
        yield memoryview(last)
        last = chunk
    if (sent, digest.hexdigest()) != (size_bytes, sha256):
        raise Broken("The stored file has changed since it was written, so it was not sent.", code="store_differs")
    yield memoryview(last)
    cancel.after(STALL_S)


def _judge(target: Target, status: int, retry_after: float | None) -> None:
    if 200 <= status <= 299:
        return
    if status in (408, 425, 429) or status >= 500:
        raise Unavailable(
            f"The upload's receiver {target.host} responded with {status}.",
            code="upload_rejected",
            retry_after_s=retry_after,
        )
    hint = "redirects are not followed" if status < 400 else "the URL may have expired, or was signed for other headers"
    raise Refused(f"The upload's receiver {target.host} responded with {status}: {hint}.", code="upload_rejected")
