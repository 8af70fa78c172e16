"""The protocol of one HTTP connection: uvicorn's over h11, with limits on idle and slow connections, and without
requests that two servers could frame differently (request smuggling)."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from fluxport.auth.proxies import Proxies, address, neighbourhood

log = logging.getLogger("fluxport.http")

UNSENT = "fluxport.unsent"  # among the extensions of a request's scope


@dataclass(frozen=True)
class ConnectionLimits:
    """``header_s`` limits the time for the head of a request and each pause in its body; ``per_address`` limits the
    connections of one address other than a trusted proxy."""

    header_s: float
    per_address: int
    proxies: Proxies


def unsent(scope: Mapping[str, Any]) -> Callable[[], int] | None:
    """A function that returns how many bytes the server holds for this connection; None from another server."""
    found: Callable[[], int] | None = scope.get("extensions", {}).get(UNSENT)
    return found


def protocol(limits: ConnectionLimits) -> Callable[..., asyncio.Protocol]:
    """The factory from which uvicorn creates a protocol for each connection."""
    open_by_address: Counter[str] = Counter()

    def create(**settings: Any) -> BoundedProtocol:
        return BoundedProtocol(limits, open_by_address, **settings)

    return create


class BoundedProtocol(H11Protocol):
    """Closes a connection whose client is too slow, or whose address has too many connections. ``open_by_address``
    counts them; all protocols share it."""

    def __init__(self, limits: ConnectionLimits, open_by_address: Counter[str], **settings: Any) -> None:
        super().__init__(**settings)
        self._application = self.app
        self.app = self._measured
        given_max = self.config.h11_max_incomplete_event_size
        self.conn = _Connection(h11.SERVER, *(() if given_max is None else (given_max,)))
        self._limits = limits
        self._open_by_address = open_by_address
        self._address = ""
        self._timer: asyncio.TimerHandle | None = None

    def _measured(self, scope: Any, receive: Any, send: Any) -> Any:
        """The application, which learns by :func:`unsent` how much of its response the client has not read."""
        scope["extensions"] = {**scope.get("extensions", {}), UNSENT: self.transport.get_write_buffer_size}
        return self._application(scope, receive, send)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        peer = self.client[0] if self.client else ""
        if not self._limits.proxies.trusts(address(peer)):
            self._address = neighbourhood(peer)
            self._open_by_address[self._address] += 1
            if self._open_by_address[self._address] > self._limits.per_address:
                log.info("closed a connection: its address has too many")
                transport.abort()
                return
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing() or self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._cancel_timer()
        elif self._timer is None or self.conn.their_state is h11.SEND_BODY:
            self._cancel_timer()
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        if self._address:
            self._open_by_address[self._address] -= 1
            if not self._open_by_address[self._address]:
                del self._open_by_address[self._address]
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._limits.header_s, self._end)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        if self.conn.their_state is h11.SEND_BODY and self.flow.read_paused:
            self._start_timer()  # the server has paused reading, so the client is not to blame
        elif self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self.transport.close()


class _Connection(h11.Connection):
    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            framing = {name for name, _ in event.headers} & {b"content-length", b"transfer-encoding"}
            # RFC 9112, 6.1: a proxy in front may have used the other of the two, or in HTTP/1.0 neither.
            if len(framing) == 2 or (b"transfer-encoding" in framing and event.http_version < b"1.1"):
                raise h11.RemoteProtocolError("ambiguous body length")
        return event
