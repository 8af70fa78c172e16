"""A MySQL server for development and tests: one account, sample tables in memory, read-only.

``run`` blocks until SIGINT or SIGTERM, ``serve`` until it is cancelled. The event loop only moves bytes; worker threads
parse, execute queries and lay out rows, one statement per connection at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import re
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fluxport.errors import Refused, Unavailable
from fluxport_emulator import faults, wire
from fluxport_emulator.auth import Account, AuthPlugin
from fluxport_emulator.certificate import self_signed_context
from fluxport_emulator.channel import Channel
from fluxport_emulator.client import Client, ClientLimits
from fluxport_emulator.engine import Engine
from fluxport_emulator.login import LoginState
from fluxport_emulator.session import Process
from fluxport_emulator.tables import Catalog, SampleTable, users_table
from fluxport_emulator.variables import Setting

log = logging.getLogger(__name__)
ACCEPT_AGAIN_S = 0.1


@dataclass(frozen=True)
class EmulatorOptions:
    """``port`` 0 selects a free one. Without a certificate, TLS uses one generated at start.

    ``tables`` are added to ``users``. ``allow_remote`` must be set for a host that other machines can reach: the
    emulator is for development and its password is well known.
    """

    host: str = "127.0.0.1"
    port: int = 3306
    rows: int = 1_000_000
    user: str = "fluxport"
    password: str = field(default="fluxport", repr=False)
    database: str = "app"
    auth_plugin: AuthPlugin = "caching_sha2_password"
    tls: bool = True
    certificate: Path | None = None
    private_key: Path | None = None
    tables: tuple[SampleTable, ...] = ()
    allow_remote: bool = False
    memory_limit: str = "2GB"
    threads: int | None = None
    connections_max: int = 100
    statements_max: int = 1000
    packet_bytes_max: int = 16 << 20
    handshake_s: float = 10.0
    idle_s: float = 28800.0


def run(options: EmulatorOptions, ready: Callable[[int], None] = lambda port: None) -> None:
    """Serve until SIGINT or SIGTERM; ``ready`` is called with the port once clients can connect."""
    asyncio.run(_until_signalled(options, ready))


async def _until_signalled(options: EmulatorOptions, ready: Callable[[int], None]) -> None:
    loop = asyncio.get_running_loop()
    serving = asyncio.ensure_future(serve(options, ready))
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt
            loop.add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def serve(options: EmulatorOptions, ready: Callable[[int], None] = lambda port: None) -> None:
    """Serve until cancelled, then end every connection.

    Raises Refused for invalid options, Unavailable if the port is in use.
    """
    _check(options)
    listener = _listen(options)
    try:
        server = await asyncio.to_thread(_Server, options)
        try:
            ready(listener.getsockname()[1])
            await server.accept(listener)
        finally:
            await server.close()
    finally:
        listener.close()


def _check(options: EmulatorOptions) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_$]{1,64}", options.database) or options.database == "information_schema":
        raise Refused(f"The database name {options.database!r} must be letters, digits, _ or $.")
    if (options.certificate is None) != (options.private_key is None):
        raise Refused("A certificate needs its private key, and a private key its certificate: set both or neither.")
    if _is_loopback(options.host):
        return
    if not options.allow_remote:
        raise Refused(
            f"The emulator would be reachable from other machines on {options.host}; listen on 127.0.0.1.",
            code="not_loopback",
        )
    log.warning("the emulator listens on %s: anyone who reaches this machine can try its password", options.host)


def _is_loopback(host: str) -> bool:
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Refused(f"The host {host!r} of the emulator has no address.") from error
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in addresses)


def _listen(options: EmulatorOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listener = socket.create_server((options.host, options.port), family=family, backlog=128)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise Unavailable(
            f"The emulator cannot listen on {options.host} port {options.port}: {reason}; choose another port."
        ) from error
    listener.setblocking(False)
    return listener


def _tls_context(options: EmulatorOptions) -> ssl.SSLContext | None:
    if not options.tls:
        return None
    if options.certificate is None:
        return self_signed_context(options.host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.certificate, options.private_key)
    except OSError as error:  # includes ssl.SSLError
        raise Refused(f"The certificate {options.certificate} and its key cannot be used.") from error
    return context


def _close_connection(connection: socket.socket, _: object) -> None:
    """Close the connection of a task that was cancelled before it started."""
    connection.close()


class _Server:
    """The connections and their shared state; created in a worker thread, because filling the tables takes time."""

    def __init__(self, options: EmulatorOptions) -> None:
        self._options = options
        self._login_state = LoginState(
            Account.of(options.user, options.password, options.auth_plugin), _tls_context(options)
        )
        catalog = Catalog.of(options.database, (users_table(options.rows), *options.tables), options.user)
        self._engine = Engine(catalog, memory_limit=options.memory_limit, threads=options.threads)
        self._limits = ClientLimits(
            options.statements_max, options.packet_bytes_max, options.handshake_s, options.idle_s
        )
        self._pool = ThreadPoolExecutor(options.connections_max, thread_name_prefix="emulator")
        self._clients: dict[int, Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._served = 0
        self._since = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._port = options.port
        self._pause: asyncio.TimerHandle | None = None

    async def accept(self, listener: socket.socket) -> None:
        """Accept until cancelled. Uses a callback, because cancelling an awaited accept may lose its socket."""
        self._loop = asyncio.get_running_loop()
        self._port = listener.getsockname()[1]
        self._loop.add_reader(listener, self._accept_one, self._loop, listener)
        try:
            await self._loop.create_future()
        finally:
            self._loop.remove_reader(listener)
            if self._pause is not None:
                self._pause.cancel()

    def _accept_one(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        try:
            connection, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # the client has already disconnected
        except OSError as error:  # out of file descriptors: retry later
            log.warning("a connection could not be accepted: %s", error.strerror)
            loop.remove_reader(listener)
            self._pause = loop.call_later(ACCEPT_AGAIN_S, loop.add_reader, listener, self._accept_one, loop, listener)
            return
        task = loop.create_task(self._serve_client(connection, str(address[0])))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(partial(_close_connection, connection))

    async def _serve_client(self, connection: socket.socket, host: str) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        channel = Channel(connection, self._options.packet_bytes_max)
        if len(self._clients) >= self._options.connections_max:
            with contextlib.suppress(OSError):
                await channel.send(wire.error(faults.too_many_connections()))
            await channel.close()
            return
        self._served += 1
        number = self._served
        client = Client(number, host, channel, self._engine, self, self._login_state, self._pool)
        self._clients[number] = client
        try:
            await client.serve(self._limits)
        except Exception:
            # A bug in the emulator ends this connection and no other.
            log.exception("connection %d failed in the emulator itself", number)
        finally:
            del self._clients[number]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown()
        self._engine.close()

    # --- called by sessions, from worker threads

    def processes(self) -> Iterable[Process]:
        return [client.process() for client in list(self._clients.values())]

    def kill(self, connection_id: int, *, query_only: bool) -> bool:
        client = self._clients.get(connection_id)
        if client is None or self._loop is None:
            return False
        self._loop.call_soon_threadsafe(lambda: client.kill(query_only=query_only))
        return True

    def status(self) -> Iterable[tuple[str, str]]:
        return [
            ("Uptime", str(int(time.monotonic() - self._since))),
            ("Connections", str(self._served)),
            ("Threads_connected", str(len(self._clients))),
            ("Threads_running", str(sum(1 for line in self.processes() if line.info))),
        ]

    def settings(self) -> Mapping[str, Setting]:
        return {
            "port": self._port,
            "max_connections": self._options.connections_max,
            "max_allowed_packet": self._options.packet_bytes_max,
            "have_ssl": "YES" if self._login_state.context is not None else "DISABLED",
        }
