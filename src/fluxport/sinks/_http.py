"""HTTP requests to a store, with retries.

A request is retried after 408, 429, 5xx and a lost or stalled connection, with exponential backoff and jitter, or after
the time in ``Retry-After``. The body is a view, so a retry copies nothing; headers are built for each attempt, because
a signature includes a time.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from fluxport import outbound
from fluxport.errors import Refused, Unavailable
from fluxport.headers import retry_after_s, web_address
from fluxport.outbound import Cancel, Failure
from fluxport.sinks.object_options import HttpOptions
from fluxport.stages import Chunks
from fluxport.telemetry import events

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
# Error codes of S3, OSS, Google and Azure for a body damaged in transit.
DAMAGED = frozenset(
    {"BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest", "Md5Mismatch", "XAmzContentChecksumMismatch"}
)
RETRY_AFTER_MAX_S = 60.0

Headers = Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class Response(outbound.Response):
    """A store's response, and the number of the attempt (from 1) that received it."""

    tries: int = 1

    def code(self) -> str:
        """The store's error code; empty if there is none."""
        match = re.search(rb"<Code>([\w.-]{1,80})</Code>", self.body)
        return match[1].decode() if match else self.headers.get("x-ms-error-code", "")

    def xml(self) -> ElementTree.Element:
        """The body as XML; Unavailable if it cannot be parsed."""
        try:
            return ElementTree.fromstring(self.body)
        except ElementTree.ParseError as error:
            raise Unavailable("The store's response is not XML.", code="store_failed") from error


def settled(response: Response) -> bool:
    """Whether a retry would get the same response."""
    return response.status not in RETRIED and response.code() not in DAMAGED


class Http:
    """One host of a store; safe to use from several threads."""

    def __init__(self, endpoint: str, options: HttpOptions) -> None:
        parts = web_address(endpoint)
        if parts is None or parts.hostname is None:
            raise Refused(  # does not quote the endpoint, which may include a key
                "The endpoint of a store is invalid; use a URL such as https://s3.example.com.", code="bad_endpoint"
            )
        self.host = parts.hostname
        self.path = parts.path.rstrip("/")
        self.authority = parts.netloc
        self._options = options
        self._client = outbound.Client(
            parts, connect_s=options.connect_timeout_s, stall_s=options.timeout_s, ca_file=options.ca_file
        )

    def request(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | memoryview = b"",
        *,
        cancel: Cancel | None = None,
        judge: Callable[[Response], bool] = settled,
    ) -> Response:
        """The first response that ``judge`` accepts, whatever its status, after at most ``tries_max`` attempts.

        Returns the last response if none was accepted; raises Unavailable if there was none, or ``cancel`` was set.
        """
        cancel = cancel or Cancel()
        failure: Failure | None = None
        response: Response | None = None
        for attempt in range(self._options.tries_max):
            if attempt and cancel.wait(self._pause_s(attempt, response)):
                break
            if attempt and method in ("PUT", "POST"):
                status = None if response is None else response.status
                events.emit("OSSUploadRetry", attempt=attempt + 1, status=status)
            try:
                received = self._client.request(method, target, headers(), body, cancel)
            except Failure as error:
                response, failure = None, error
                continue
            response = Response(received.status, received.headers, received.body, attempt + 1)
            if judge(response):
                return response
        if response is not None:
            return response
        raise self._unreachable(failure)

    def send(
        self, method: str, target: str, headers: Mapping[str, str], chunks: Iterable[bytes | memoryview]
    ) -> Response:
        """The response to a body that is streamed without a length; never retried."""
        try:
            head = self._client.send(method, target, headers, chunks)
        except Failure as error:
            raise self._unreachable(error) from error
        return Response(head.status, head.headers, head.body)

    def stream(self, target: str, headers: Headers) -> tuple[Response, Chunks]:
        """The head of the response to a GET, and its body, which is read as it is pulled; never retried."""
        try:
            head, chunks = self._client.open(target, headers())
        except Failure as error:
            raise self._unreachable(error) from error
        return Response(head.status, head.headers, head.body), self._read(chunks)

    def _read(self, chunks: Chunks) -> Chunks:
        try:
            yield from chunks
        except Failure as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Failure | None) -> Unavailable:
        what = {
            "timeout": "did not respond in time",
            "certificate": f"has no certificate that is trusted here ({error})",
            "connection": "cannot be reached, or the connection was lost",
        }["connection" if error is None else error.kind]
        return Unavailable(f"The store {self.host} {what}.", code="store_unreachable", detail=str(error))

    def _pause_s(self, attempt: int, response: Response | None) -> float:
        value = None if response is None else response.headers.get("retry-after")
        wanted_s = retry_after_s(value, time.time(), most_s=RETRY_AFTER_MAX_S)
        if wanted_s is not None:
            return wanted_s + random.uniform(0, 0.1)  # noqa: S311  jitter, not a secret
        longest = min(self._options.retry_first_s * 2 ** (attempt - 1), self._options.retry_most_s)
        return random.uniform(longest / 2, longest)  # noqa: S311  jitter, not a secret
