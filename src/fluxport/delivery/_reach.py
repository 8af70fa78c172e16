"""Receivers that somebody else named: looked up once, every address checked, and reached at a checked one."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeAlias

from fluxport.delivery.targets import AllowList, Target, check_addresses
from fluxport.errors import Unavailable
from fluxport.headers import retry_after_s
from fluxport.outbound import Exchange, Failure, Response, opened

_ADDRESSES_MAX = 4  # tried one after the other
_RETRY_AFTER_MAX_S = 86400.0

Resolve: TypeAlias = Callable[..., Sequence[tuple[Any, ...]]]
"""``socket.getaddrinfo`` or one that is called and answers like it."""


@contextmanager
def reached(
    target: Target, allow: AllowList, ca_file: str | None, resolve: Resolve, *, connect_s: float, late: str
) -> Iterator[Exchange]:
    """A connection for one request; ``connect_s`` is the time for look-up and connection together.

    Refused unless every address may be reached. Unavailable without an answer, here and in the block; ``late`` says
    what the receiver did not do in time.
    """
    deadline = time.monotonic() + connect_s
    try:
        addresses = _resolved(target, resolve, connect_s)
        check_addresses(target, [ipaddress.ip_address(address) for address, _ in addresses], allow)
        with opened(
            target.host,
            addresses[:_ADDRESSES_MAX],
            encrypted=target.encrypted,
            ca_file=ca_file,
            connect_s=deadline - time.monotonic(),
        ) as exchange:
            yield exchange
    except socket.gaierror as error:
        raise _unavailable(target, "cannot be found in the DNS", "unresolved") from error
    except Failure as error:
        what, code = {
            "timeout": (late, "timeout"),
            "certificate": (f"has no valid certificate ({error})", "tls"),
            "connection": ("cannot be reached or broke off", "unreachable"),
        }[error.kind]
        raise _unavailable(target, what, code, str(error)) from error


def told_to_wait_s(answer: Response, now: float) -> float | None:
    """The answer's ``Retry-After`` in seconds, a day at most."""
    return retry_after_s(answer.headers.get("retry-after"), now, most_s=_RETRY_AFTER_MAX_S)


def _resolved(target: Target, resolve: Resolve, wait_s: float) -> list[tuple[str, int]]:
    """Address and port of each answer, from one look-up, which has no time limit of its own."""
    answer: Future[Sequence[tuple[Any, ...]]] = Future()

    def ask() -> None:
        try:
            answer.set_result(resolve(target.host, target.port, type=socket.SOCK_STREAM))
        except BaseException as error:  # noqa: BLE001  raised where the answer is waited for
            answer.set_exception(error)

    threading.Thread(target=ask, name="fluxport-resolve", daemon=True).start()
    try:
        found = answer.result(wait_s)
    except TimeoutError as error:
        raise Failure("timeout", "no answer from the DNS") from error
    addresses = [info[4][:2] for info in found if info[0] in (socket.AF_INET, socket.AF_INET6)]
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return addresses


def _unavailable(target: Target, what: str, code: str, detail: str | None = None) -> Unavailable:
    return Unavailable(f"The {target.of}'s receiver {target.host} {what}.", code=f"{target.of}_{code}", detail=detail)
