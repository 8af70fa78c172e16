"""Connections to receivers that a caller named: the name is resolved once and every address checked before use."""

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
"""``socket.getaddrinfo`` or a function with its signature."""


@contextmanager
def reached(
    target: Target, allow: AllowList, ca_file: str | None, resolve: Resolve, *, connect_s: float, late: str
) -> Iterator[Exchange]:
    """A connection for one request; ``connect_s`` limits DNS resolution and connection together.

    Refused unless every address may be reached. Unavailable if there is no response, here and in the block; ``late``
    is the message's verb phrase for a timeout.
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
        raise _unavailable(target, "cannot be resolved in the DNS", "unresolved") from error
    except Failure as error:
        what, code = {
            "timeout": (late, "timeout"),
            "certificate": (f"has no valid certificate ({error})", "tls"),
            "connection": ("cannot be reached or closed the connection", "unreachable"),
        }[error.kind]
        raise _unavailable(target, what, code, str(error)) from error


def requested_wait_s(response: Response, now: float) -> float | None:
    """The response's ``Retry-After`` in seconds, at most one day."""
    return retry_after_s(response.headers.get("retry-after"), now, most_s=_RETRY_AFTER_MAX_S)


def _resolved(target: Target, resolve: Resolve, wait_s: float) -> list[tuple[str, int]]:
    """Address and port of each result of one DNS resolution, which itself has no time limit."""
    resolved: Future[Sequence[tuple[Any, ...]]] = Future()

    def run() -> None:
        try:
            resolved.set_result(resolve(target.host, target.port, type=socket.SOCK_STREAM))
        except BaseException as error:  # noqa: BLE001  raised again by resolved.result()
            resolved.set_exception(error)

    threading.Thread(target=run, name="fluxport-resolve", daemon=True).start()
    try:
        infos = resolved.result(wait_s)
    except TimeoutError as error:
        raise Failure("timeout", "no response from the DNS") from error
    addresses = [info[4][:2] for info in infos if info[0] in (socket.AF_INET, socket.AF_INET6)]
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return addresses


def _unavailable(target: Target, what: str, code: str, detail: str | None = None) -> Unavailable:
    return Unavailable(f"The {target.of}'s receiver {target.host} {what}.", code=f"{target.of}_{code}", detail=detail)
