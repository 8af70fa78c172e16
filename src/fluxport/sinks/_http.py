"""Requests to a store over HTTP, sent again where time mends.

A request is tried again after 408, 429, 5xx and a broken or silent connection, with waits that double and are spread
at random, or as long as the store says in ``Retry-After``. What is sent is given as a view, so that nothing is copied
for another try; headers are made anew for each one, because a signature has a time in it.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from fluxport import outbound
from fluxport.errors import Refused, Unavailable
from fluxport.headers import retry_after_s, web_address
from fluxport.outbound import Cancel, Failure
from fluxport.sinks.object_options import HttpOptions
from fluxport.stages import Chunks

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
# A body that arrived as another than it was sent, in the words of S3, OSS and Google, and of Azure.
DAMAGED = frozenset(
    {"BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest", "Md5Mismatch", "XAmzContentChecksumMismatch"}
)
RETRY_AFTER_MAX_S = 60.0

Headers = Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class Answer(outbound.Answer):
    """What a store said, at which try."""

    tries: int = 1

    def code(self) -> str:
        """The store's own name for the error, if it gave one."""
        found = re.search(rb"<Code>([\w.-]{1,80})</Code>", self.body)
        return found[1].decode() if found else self.headers.get("x-ms-error-code", "")


def settled(answer: Answer) -> bool:
    """Whether asking once more would change nothing."""
    return answer.status not in RETRIED and answer.code() not in DAMAGED


class Http:
    """One host of a store; used by any number of threads."""

    def __init__(self, endpoint: str, options: HttpOptions) -> None:
        parts = web_address(endpoint)
        if parts is None or parts.hostname is None:
            raise Refused(  # without the endpoint: what is wrong with it may be a key in it
                "The endpoint of a store is not right: it is like https://s3.example.com.", code="bad_endpoint"
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
        judge: Callable[[Answer], bool] = settled,
    ) -> Answer:
        """The store's answer, whatever its status, after as many tries as it takes for ``judge`` to take it.

        The last answer comes back if none was taken; Unavailable if there was none, or ``cancel`` was set.
        """
        cancel = cancel or Cancel()
        failure: Failure | None = None
        answer: Answer | None = None
        for tried in range(self._options.tries_max):
            if tried and cancel.wait(self._pause_s(tried, answer)):
                break
            try:
                found = self._client.ask(method, target, headers(), body, cancel)
            except Failure as error:
                answer, failure = None, error
                continue
            answer = Answer(found.status, found.headers, found.body, tried + 1)
            if judge(answer):
                return answer
        if answer is not None:
            return answer
        raise self._away(failure)

    def send(
        self, method: str, target: str, headers: Mapping[str, str], chunks: Iterable[bytes | memoryview]
    ) -> Answer:
        """The answer to a body that is sent as it is made, without a length; not tried again."""
        try:
            head = self._client.send(method, target, headers, chunks)
        except Failure as error:
            raise self._away(error) from error
        return Answer(head.status, head.headers, head.body)

    def stream(self, target: str, headers: Headers) -> tuple[Answer, Chunks]:
        """The head of a GET's answer and its body, which is read as it is pulled; not tried again."""
        try:
            head, chunks = self._client.open(target, headers())
        except Failure as error:
            raise self._away(error) from error
        return Answer(head.status, head.headers, head.body), self._read(chunks)

    def _read(self, chunks: Chunks) -> Chunks:
        try:
            yield from chunks
        except Failure as error:
            raise self._away(error) from error

    def _away(self, error: Failure | None) -> Unavailable:
        what = {
            "timeout": "did not answer in time",
            "certificate": f"has no certificate that is trusted here ({error})",
            "connection": "cannot be reached or broke off",
        }["connection" if error is None else error.kind]
        return Unavailable(f"The store {self.host} {what}.", code="store_unreachable", detail=str(error))

    def _pause_s(self, tried: int, answer: Answer | None) -> float:
        value = None if answer is None else answer.headers.get("retry-after")
        told = retry_after_s(value, time.time(), most_s=RETRY_AFTER_MAX_S)
        if told is not None:
            return told + random.uniform(0, 0.1)  # noqa: S311  jitter, not a secret
        longest = min(self._options.retry_first_s * 2**tried, self._options.retry_most_s)
        return random.uniform(longest / 2, longest)  # noqa: S311  jitter, not a secret
