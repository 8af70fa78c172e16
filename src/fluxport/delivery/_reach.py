"""Connections to addresses that somebody else named: resolved once, checked by whoever asks, reached as checked."""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

from fluxport.delivery._tls import client_context
from fluxport.delivery.targets import Target

ANSWER_BYTES_MAX = 64 << 10

_ADDRESSES_MAX = 4  # tried one after the other
RETRY_AFTER_MAX_S = 86400.0

Resolve: TypeAlias = Callable[..., Sequence[tuple[Any, ...]]]
"""``socket.getaddrinfo`` or one that is called and answers like it."""


def resolved(target: Target, resolve: Resolve, deadline: float) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    """Family and socket address of each answer, from one look-up, which has no time limit of its own."""
    answer: Future[Sequence[tuple[Any, ...]]] = Future()

    def ask() -> None:
        try:
            answer.set_result(resolve(target.host, target.port, type=socket.SOCK_STREAM))
        except BaseException as error:  # noqa: BLE001  raised where the answer is waited for
            answer.set_exception(error)

    threading.Thread(target=ask, name="fluxport-resolve", daemon=True).start()
    found = answer.result(left(deadline))
    addresses = [(info[0], info[4]) for info in found if info[0] in (socket.AF_INET, socket.AF_INET6)]
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return addresses


def connected(
    ca_file: str | None,
    target: Target,
    addresses: Sequence[tuple[socket.AddressFamily, tuple[Any, ...]]],
    deadline: float,
) -> socket.socket:
    """A connection to the first address that takes one; each gets its share of the time that is left."""
    context = client_context(ca_file) if target.encrypted else None
    candidates = addresses[:_ADDRESSES_MAX]
    for position, (family, sockaddr) in enumerate(candidates):
        share = time.monotonic() + left(deadline) / (len(candidates) - position)
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(left(share))
            connection.connect(sockaddr)
            connection.settimeout(left(share))
            return context.wrap_socket(connection, server_hostname=target.host) if context else connection
        except OSError:
            connection.close()
            if position == len(candidates) - 1:
                raise
    raise AssertionError("there is at least one address")


class Answer(io.RawIOBase):
    """What the other side sends, until the deadline and up to the limit; more raises, as coming later does."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._left_bytes = ANSWER_BYTES_MAX

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer)[: self._left_bytes]
        if not room:
            raise http.client.HTTPException("the answer is too long")
        self._connection.settimeout(left(self._deadline))
        count = self._connection.recv_into(room)
        self._left_bytes -= count
        return count


def left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
