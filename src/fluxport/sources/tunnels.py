"""SSH tunnels: a source whose database is reached through an SSH server.

::

    source -- 127.0.0.1:port -- here: a thread per direction -- SSH channel -- SSH server -- database

The options of a URL that begin with ``ssh`` say through which server; each export has a tunnel of its own, which ends
with its source. The source connects to the local port and still knows the database by its own name, which TLS verifies.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from fluxport.errors import FluxportError, Refused, Unavailable
from fluxport.findings import Findings
from fluxport.sources.base import BaseSource
from fluxport.sources.table import SOURCES, SourceOptions, open_here, source_of
from fluxport.ssh import CONNECT_TIMEOUT_S, SshServer, connected, connection_errors
from fluxport.stages import Batches, Limits, Source

if TYPE_CHECKING:
    import pyarrow as pa
    from paramiko import Channel, SSHClient

    from fluxport.sources.table import Params

PIECE_BYTES = 256 << 10
KEEPALIVE_S = 30
OPTIONS = ("ssh", "ssh-key", "ssh-password", "ssh-known-hosts")


class Tunneled(NamedTuple):
    """What ``SourceEntry.tunneled`` names: the host and port of a URL's database, and the URL with which its source
    connects to a port of 127.0.0.1 instead."""

    address: Callable[[str], tuple[str, int]]
    through: Callable[[str, int], str]


def with_option(url: str, name: str, value: str) -> str:
    """``url`` with one more option."""
    place = url if "://" in url else url.rpartition("@")[2]  # Go's form encodes nothing in a password
    return f"{url}{'&' if '?' in place else '?'}{name}={quote(value, safe='')}"


def with_tunnel(url: str, server: SshServer) -> str:
    """``url`` with the options of a tunnel through ``server``."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    user = f"{quote(server.user, safe='')}@" if server.user else ""
    values = {
        "ssh": f"{user}{host}:{server.port}",
        "ssh-key": server.key_file,
        "ssh-password": server.password,
        "ssh-known-hosts": server.known_hosts,
    }
    for name, value in values.items():
        url = url if value is None else with_option(url, name, str(value))
    return url


def without_tunnel(url: str) -> tuple[str, SshServer | None]:
    """``url`` without the options of a tunnel, and its server; None if it has none. Refused if they are invalid."""
    place, mark, query = url.rpartition("?")
    if not mark:
        return url, None
    ours = {}
    rest = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        name = unquote(name).lower().replace("_", "-")
        if name in OPTIONS:
            ours[name] = unquote(value)
        else:
            rest.append(pair)
    if not ours:
        return url, None
    return place + ("?" + "&".join(rest) if rest else ""), _server(ours)


def _server(options: dict[str, str]) -> SshServer:
    try:
        parts = urlsplit(f"ssh://{options['ssh']}")
        host, port = parts.hostname, parts.port or 22
    except (KeyError, ValueError):
        host, port = None, 0
    if not host or parts.path or parts.query or parts.password is not None:
        raise Refused(
            "The SSH tunnel is invalid: write ssh=user@host or ssh=user@host:port; a password is ssh-password.",
            code="bad_dsn",
        )
    key_file, known_hosts = (
        Path(options[name]).expanduser() if name in options else None for name in ("ssh-key", "ssh-known-hosts")
    )
    user = unquote(parts.username) if parts.username else None
    return SshServer(host, user, port, options.get("ssh-password"), key_file, known_hosts, agent=True)


class TunnelSource(BaseSource):
    """Rows of a source that connects through a tunnel; the arguments are those of
    :func:`fluxport.sources.open_source`."""

    close_wait_s = 6.0

    def __init__(
        self, url: str, query: str, params: Params, options: SourceOptions, findings: Findings, limits: Limits
    ) -> None:
        super().__init__(limits)
        url, server = without_tunnel(url)
        name = source_of(url)
        entry = SOURCES[name]
        if entry.tunneled is None or server is None:
            raise Refused(f"{entry.label} is not reached through an SSH tunnel; remove the option ssh.", code="bad_dsn")
        tunneled: Tunneled = SOURCES.attribute(name, *entry.tunneled.split(":"))
        self._server = server
        self._address = tunneled.address(url)

        def inner(port: int, limits: Limits) -> Source:
            return open_here(tunneled.through(url, port), query, params, options, findings, limits)

        inner(1, limits)  # refuses what is invalid before anything is connected
        self._inner = inner
        self._tunnel: _Tunnel | None = None
        self._source: Source | None = None
        self._batches: Batches | None = None

    def open(self) -> pa.Schema:
        tunnel = self._tunnel = _Tunnel(self._server, self._address)
        left_s = CONNECT_TIMEOUT_S if self.deadline is None else max(self.deadline - time.monotonic(), 0.001)
        port = tunnel.open(min(CONNECT_TIMEOUT_S, left_s))
        self.check()
        deadline_s = None if self.deadline is None else max(self.deadline - time.monotonic(), 0.001)
        self._source = self._inner(port, replace(self.limits, deadline_s=deadline_s))
        self._batches = self._source.batches()
        return self._source.schema

    def read(self) -> pa.RecordBatch | None:
        assert self._batches is not None
        return next(self._batches, None)

    def interrupt(self) -> None:
        if self._source is not None:
            self._source.close()
        if self._tunnel is not None:
            self._tunnel.close()

    def free(self) -> None:
        if self._source is not None:
            self._source.close()
        if self._tunnel is not None:
            self._tunnel.close()

    def translate(self, error: Exception) -> None:
        if self._tunnel is not None and self._tunnel.failure is not None and isinstance(error, FluxportError):
            raise self._tunnel.failure from error


class _Tunnel:
    """A port of 127.0.0.1 whose connections end at ``address``, as the SSH server reaches it; ``failure`` is why one
    did not."""

    def __init__(self, server: SshServer, address: tuple[str, int]) -> None:
        self._server = server
        self._address = address
        self._client: SSHClient | None = None
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self.failure: FluxportError | None = None

    def open(self, timeout_s: float) -> int:
        """Log in and listen; returns the port."""
        client = connected(
            self._server,
            role="SSH server",
            extra="ssh",
            denied="ssh_denied",
            unreachable="ssh_unreachable",
            timeout_s=timeout_s,
            opened=self._opened,
        )
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(KEEPALIVE_S)
        listener = socket.create_server(("127.0.0.1", 0))
        with self._lock:
            self._client, self._listener = client, listener
        if self._closed:
            self.close()
        threading.Thread(target=self._accept, args=(listener,), name="fluxport-tunnel", daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    def _opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        if self._closed:
            self.close()

    def close(self) -> None:
        """End every connection; may be called from any thread, any number of times."""
        self._closed = True
        with self._lock:
            client, self._client = self._client, None
            listener, self._listener = self._listener, None
            sockets, self._open = self._open, set()
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends accept() in the other thread
            listener.close()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        if client is not None:
            client.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                local, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(local)
            threading.Thread(target=self._forward, args=(local,), name="fluxport-tunnel", daemon=True).start()

    def _forward(self, local: socket.socket) -> None:
        """Pass on the bytes of one connection until both directions have ended."""
        with contextlib.closing(local):
            try:
                channel = self._channel(local)
                back = threading.Thread(target=_back, args=(channel, local), name="fluxport-tunnel", daemon=True)
                back.start()
                _pass_on(local.recv, channel.sendall)
                with contextlib.suppress(*connection_errors()):
                    channel.shutdown_write()
                back.join()
                with contextlib.suppress(*connection_errors()):
                    channel.close()
            except FluxportError as failure:
                self.failure = failure
            finally:
                with self._lock:
                    self._open.discard(local)

    def _channel(self, local: socket.socket) -> Channel:
        from paramiko import ChannelException

        client = self._client
        transport = None if client is None else client.get_transport()
        host, port = self._address
        try:
            if transport is None:
                raise OSError("the tunnel is closed")
            return transport.open_channel("direct-tcpip", self._address, local.getsockname(), timeout=10.0)
        except ChannelException as error:
            if error.code == 1:  # administratively prohibited
                raise Refused(
                    f"The SSH server {self._server.host} does not allow connections to {host}:{port}; permit "
                    "TCP forwarding there.",
                    code="ssh_denied",
                ) from None
            raise Unavailable(
                f"The SSH server {self._server.host} cannot reach the database {host}:{port}; check host and port.",
                code="source_unreachable",
            ) from None
        except connection_errors() as error:
            raise Unavailable(
                f"The connection to the SSH server {self._server.host} was lost; try again.",
                code="ssh_unreachable",
                detail=str(error),
            ) from None


def _back(channel: Channel, local: socket.socket) -> None:
    _pass_on(channel.recv, local.sendall)
    with contextlib.suppress(OSError):
        local.shutdown(socket.SHUT_RDWR)  # a tunnel that died ends the connection of the source


def _pass_on(receive: Callable[[int], bytes], send: Callable[[bytes], object]) -> None:
    with contextlib.suppress(*connection_errors()):
        while data := receive(PIECE_BYTES):
            send(data)
