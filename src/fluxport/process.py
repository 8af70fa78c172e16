"""The process of ``fluxport serve``: listens, serves, supervises its worker, sweeps, and shuts down gracefully."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from fluxport.config import Config, GrpcConfig
from fluxport.errors import FluxportError, Refused, check_all
from fluxport.keeper import EmbeddedWorker
from fluxport.loops import attempt, background, end_with_any_thread, keep_going
from fluxport.private import temporary_folder
from fluxport.signals import terminating

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from fluxport.flight.server import FlightServer
    from fluxport.grpc.server import GrpcServer

from fluxport import addresses, wiring

log = logging.getLogger("fluxport.app")

SWEEP_EVERY_S = 600.0
FORGET_EVERY_S = 30.0
# Unsent bytes that the kernel buffers for a client. Its default is megabytes, of which a slow client would have to read
# a third before any progress is visible.
UNSENT_BYTES = 128 << 10
CALLS_END_S = 5.0


class Advice(NamedTuple):
    """What to do if a port is in use, by options that the command has, to continue a sentence."""

    http: str
    grpc: str


class Ports(NamedTuple):
    """The port of each protocol; None if it is not served."""

    http: int
    grpc: int | None
    flight: int | None


def serve(config: Config, ready: Callable[[Ports], None], advice: Advice, *, worker: Sequence[str] = ()) -> bool:
    """Serve until a signal ends it; ``ready`` is called with the ports once requests are accepted. False if a second
    signal forced the end: unfinished work may then hold threads.

    ``worker`` are the arguments of ``fluxport`` that start a worker next to the service; empty for no worker.
    """
    end_with_any_thread()
    if not addresses.signing_keys(config):
        log.warning(
            "no secret is configured and other machines can connect: signed requests are refused; set API_SECRET"
        )
    with contextlib.ExitStack() as held:
        check_all(
            *(partial(check, config) for check in (*wiring.SERVICE_CHECKS, check_accounts)),
            lambda: held.enter_context(listen(config, advice.http)),
            partial(check_pushes, config, advice.grpc),
        )
    with shared_database(config) as with_database, shared_stores(with_database) as (shared, environment):
        bound = listen(shared, advice.http)
        running = wiring.service(shared)
        embedded = EmbeddedWorker(worker, {"FLUXPORT_DATABASE": shared.database, **environment})
        http = server(running, bound.getsockname()[1], embedded)

        def end(number: int, frame: FrameType | None) -> None:
            http.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            # The server has handlers of its own while it runs. Afterwards it raises the signal that ended it again,
            # which must not skip the rest of this function.
            signal.signal(number, end)
        terminating()
        announce(http, lambda: ready(Ports(bound.getsockname()[1], running.grpc_port, running.flight_port)))
        with embedded.running():
            http.run(sockets=[bound])
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: embedded.end_now())
            if http.force_exit:
                running.end_streams()
        return not http.force_exit


def server(running: wiring.Service, port: int, embedded: EmbeddedWorker | None = None) -> uvicorn.Server:
    """The HTTP server of a service, not yet started, which listens on ``port``; it starts and stops gRPC and Flight."""
    import uvicorn

    from fluxport.http.connections import ConnectionLimits, protocol
    from fluxport.http.draining import DrainingServer

    embedded = embedded or EmbeddedWorker()
    grpc: GrpcServer | None = None

    async def drained() -> None:
        embedded.end()
        if grpc is not None:
            await grpc.drain()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        import asyncio

        nonlocal grpc
        flight = None
        try:
            running.start()
            background("fluxport-sweep", keep_going, "a sweep", running.stopped, SWEEP_EVERY_S, running.sweep)
            if running.forget is not None:
                forgetting = "forgetting completed jobs"
                background("fluxport-forget", keep_going, forgetting, running.stopped, FORGET_EVERY_S, running.forget)
            if running.config.flight.port is not None:
                flight = await asyncio.to_thread(wiring.flight_server, running, port)
                running.flight_port = flight.port
            if running.config.grpc.enabled:
                grpc = wiring.grpc_server(running, port)
                await grpc.start()
                running.grpc_port = grpc.port
            yield
        finally:
            running.end_streams()
            if flight is not None:
                await asyncio.to_thread(end_flight, flight, http.left_s(CALLS_END_S))
            if grpc is not None:
                await grpc.stop(http.left_s(CALLS_END_S))
            await asyncio.to_thread(running.close)

    running.app.router.lifespan_context = lifespan
    options = running.config.server
    limits = ConnectionLimits(
        options.header_timeout_s, options.connections_per_address, addresses.proxies(running.config)
    )
    settings = uvicorn.Config(
        running.app,
        http=protocol(limits),  # type: ignore[arg-type]  # a factory instead of a class
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    http = DrainingServer(
        settings,
        running.exports.transfers,
        running.config.server.grace_s,
        running.end_streams,
        drained,
        embedded.end_now,
    )
    return http


def announce(http: uvicorn.Server, ready: Callable[[], None]) -> None:
    """Call ``ready``, from a separate thread, as soon as the server has started."""

    def wait() -> None:
        while not http.started:
            time.sleep(0.01)
        ready()

    threading.Thread(target=wait, name="fluxport-announce", daemon=True).start()


def end_flight(flight: FlightServer, most_s: float) -> None:
    """Accept no more calls and let running ones finish for ``most_s`` seconds. A call whose client neither sends nor
    disconnects cannot be ended, and does not delay the shutdown."""
    background("fluxport-flight-end", attempt, "ending Arrow Flight", flight.shutdown).join(most_s)


def listen(config: Config, advice: str) -> socket.socket:
    """The listening socket; Refused with ``advice`` if the address is in use or not local."""
    bound = bind(config.server.host, config.server.port, advice)
    # Accepted connections inherit both options. asyncio does not set the first on them, because such a listening socket
    # has no protocol number; without it, a response of two writes waits 40 ms for the client's acknowledgement.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return bound


def check_pushes(config: Config, advice: str) -> None:
    """Refused, with ``advice`` about gRPC's port, if gRPC or Arrow Flight cannot be served: an error within the event
    loop would only reach the log."""
    grpc, flight = config.grpc, config.flight
    if not grpc.enabled and flight.port is None:
        return
    host = grpc.host or config.server.host
    wanted = []
    if grpc.enabled:
        wanted.append((host, addresses.grpc_port(config), advice, " for gRPC"))
        more = addresses.more_grpc_addresses(config)
        wanted += [(*address, "choose another in grpc.addresses", " for gRPC") for address in more]
    if flight.port is not None:
        wanted.append((host, flight.port, "set another flight.port", " for Arrow Flight"))
    with contextlib.ExitStack() as held:
        ports = [partial(_hold, held, *address) for address in wanted]
        check_all(partial(_check_tls, grpc), *ports)


def _hold(held: contextlib.ExitStack, host: str, port: int, advice: str, what: str) -> None:
    held.enter_context(bind(host, port, advice, what))


def _check_tls(grpc: GrpcConfig) -> None:
    from fluxport.grpc.server import tls

    credentials = tls(grpc.tls_certificate, grpc.tls_key, grpc.client_ca)
    if grpc.tls_required and credentials is None:
        raise Refused(
            "The setting grpc.tls_required needs a certificate: set grpc.tls_certificate and grpc.tls_key.",
            code="bad_configuration",
        )


def bind(host: str, port: int, advice: str, what: str = "") -> socket.socket:
    """A socket that listens on the address; Refused, with the reason and ``advice``, if that fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.getaddrinfo(host, port, family)  # create_server would report an unknown host without the reason
        return socket.create_server((host, port), family=family, backlog=256, reuse_port=False)
    except OSError as error:
        reason = "no such host" if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise Refused(f"Cannot listen on {host}:{port}{what}: {reason}; {advice}.", code="address_in_use") from None


def check_accounts(config: Config) -> None:
    """In production, Refused for a connection whose account may do more than read; if an account cannot be inspected, a
    warning is logged."""
    if config.app_env != "production":
        return
    from fluxport.sources.accounts import inspect_account

    for name, entry in config.connections.items():
        try:
            account = inspect_account(entry.address)
        except FluxportError as error:
            log.warning("connection %s could not be inspected: %s", name, error.message)
            continue
        if not account.checked:
            log.warning("connection %s: %s", name, account.sentence)
        if account.excess:
            raise Refused(
                f"Connection {name!r} must not be used in production: {account.sentence}", code="account_not_read_only"
            )


@contextlib.contextmanager
def shared_database(config: Config) -> Iterator[Config]:
    """The configuration with a database that several processes can reach: ``memory`` becomes a temporary file."""
    if config.database != "memory" and config.export_queue.persist:
        yield config
        return
    with temporary_folder("fluxport-") as folder:
        queue = config.export_queue.model_copy(update={"persist": False})
        yield config.model_copy(update={"database": f"sqlite:///{folder}/fluxport.db", "export_queue": queue})


@contextlib.contextmanager
def shared_stores(config: Config) -> Iterator[tuple[Config, dict[str, str]]]:
    """The configuration with stores that service and worker can both reach, and environment variables for a worker with
    their paths: ``memory`` becomes a temporary folder, in the memory file system if there is one."""
    names = [name for name, entry in config.stores.items() if entry.type == "memory"]
    if not names:
        yield config, {}
        return
    from fluxport.sinks.local import LocalOptions

    memory = Path("/dev/shm")  # noqa: S108  only for a private temporary folder
    with temporary_folder("fluxport-", memory if os.access(memory, os.W_OK) else None) as folder:
        stores = dict(config.stores)
        environment: dict[str, str] = {}
        for name in names:
            path = folder / name
            stores[name] = LocalOptions(path=path, links=stores[name].links, link_s=stores[name].link_s)
            environment |= {f"FLUXPORT_STORES__{name.upper()}__TYPE": "local"}
            environment |= {f"FLUXPORT_STORES__{name.upper()}__PATH": str(path)}
        yield config.model_copy(update={"stores": stores}), environment
