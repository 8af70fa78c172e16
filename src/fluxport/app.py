"""The composition root: the only place that picks implementations and hands them to each other."""

from __future__ import annotations

import contextlib
import hmac
import itertools
import logging
import math
import os
import secrets
import signal
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from fluxport.config import DEVELOPMENT_SECRET, Config
from fluxport.errors import FluxportError, QueryRefused, Refused
from fluxport.keeper import EmbeddedWorker
from fluxport.loops import attempt, background, end_with_any_thread, keep_going
from fluxport.plan import Connection, Sensors, guard_dialect
from fluxport.signals import terminating
from fluxport.sinks import sink
from fluxport.stages import Limits

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from fluxport.auth.proxies import Proxies
    from fluxport.auth.replay import Replays, SharedReplays
    from fluxport.auth.signin import SignIn
    from fluxport.auth.signing import SigningKey
    from fluxport.datasets import Dataset
    from fluxport.delivery.email import EmailOptions
    from fluxport.delivery.webhook import WebhookOptions
    from fluxport.flight.server import FlightServer
    from fluxport.grpc.server import GrpcServer
    from fluxport.http.callers import Callers
    from fluxport.ingest import Ingest
    from fluxport.jobs.engine import Worker
    from fluxport.jobs.exports import Exports
    from fluxport.jobs.links import Links
    from fluxport.jobs.pushes import Pushes
    from fluxport.jobs.schedule import Schedule
    from fluxport.jobs.store import Record, Store
    from fluxport.jobs.tell import Teller
    from fluxport.stages import Sink, Source

log = logging.getLogger("fluxport.app")

SWEEP_EVERY_S = 600.0
STORES_SWEPT_EVERY = 36  # rounds: six hours, as listing a large bucket costs something
# What the kernel holds for a client beyond what is on its way: megabytes by itself, which a slow client would have to
# take a third of before anything more is seen to be taken.
UNSENT_BYTES = 128 << 10
CALLS_END_S = 5.0


def connections(config: Config) -> dict[str, Connection]:
    """The databases of the configuration, each with its guard."""
    from fluxport.policy.guard import GuardPolicy

    found = {}
    for name, entry in config.connections.items():
        url = entry.url.get_secret_value()
        try:
            guard = GuardPolicy(
                dialect=guard_dialect(url),
                schemas=None if entry.schemas is None else frozenset(entry.schemas),
                tables=None if entry.tables is None else frozenset(entry.tables),
                functions=frozenset(entry.functions),
                params=True,
            )
        except QueryRefused:
            guard = None
        found[name] = Connection(
            name,
            url,
            guard,
            entry.queries_max,
            entry.tinyint1_bool,
            shown=f"the connection {name!r}",
            connect_timeout_s=entry.connect_timeout_s,
            read_timeout_s=entry.read_timeout_s,
        )
    return found


def datasets(config: Config) -> dict[str, Dataset]:
    """The declared datasets and those of the sample; Refused if one reads a connection that is not there."""
    from fluxport.datasets import parse_datasets
    from fluxport.samples import datasets as sample_datasets

    sample = sample_datasets() if config.sample == "journal" else {}
    found = parse_datasets(sample | config.datasets)
    for dataset in found.values():
        if dataset.connection not in config.connections:
            raise Refused(
                f"Dataset {dataset.name!r} reads the connection {dataset.connection!r}, which is not configured.",
                code="bad_configuration",
            )
    return found


def sensors(config: Config, clock: Callable[[], float] = time.time) -> Sensors | None:
    """The store of sensors that the configuration names; nothing has been asked of it yet. ``clock`` (Unix seconds)
    says which points are too old."""
    series = config.series
    if series.connection is not None:
        return _remote_sensors(config)
    if series.path is None:
        return None
    if "series" in config.connections:
        raise Refused(
            "The name 'series' is the sensor store's own; give the connection another.", code="bad_configuration"
        )
    from fluxport.series.embedded import EmbeddedOptions, EmbeddedStore

    options = EmbeddedOptions(sensors_max=series.sensors_max, keep_s=series.keep_s)
    return Sensors(EmbeddedStore(series.path, options, clock), queries_max=series.exports_max)


def _remote_sensors(config: Config) -> Sensors:
    from fluxport.series.remote import RemoteOptions, RemoteStore
    from fluxport.sources import open_source

    series = config.series
    connection = connections(config).get(series.connection or "")
    if connection is None or series.path is not None:
        raise Refused(
            "Setting 'series.connection' names a connection of the configuration, and then there is no 'series.path'.",
            code="bad_configuration",
        )
    limits = Limits(deadline_s=config.limits.export_s)

    def run(statement: str, values: Sequence[Any]) -> Source:
        return open_source(connection.url, statement, values, options=connection.options, limits=limits)

    store = RemoteStore(RemoteOptions(**series.remote.model_dump()), run)
    return Sensors(store, connection.name, connection.queries_max)


def signing_keys(config: Config) -> dict[str, SigningKey]:
    from fluxport.auth.scopes import EVERYTHING
    from fluxport.auth.signing import DEFAULT_KEY_ID, SigningKey

    keys = {
        name: SigningKey(
            name,
            tuple(s.get_secret_value() for s in key.secrets),
            key.user,
            EVERYTHING if key.scopes is None else frozenset(key.scopes),
            own_results=key.own_results,
            mail_domains=None if key.mail_domains is None else tuple(key.mail_domains),
        )
        for name, key in config.auth.keys.items()
    }
    if config.auth.api_secret is not None:
        keys[DEFAULT_KEY_ID] = SigningKey(DEFAULT_KEY_ID, (config.auth.api_secret.get_secret_value(),))
    elif not keys and config.app_env == "development":
        keys[DEFAULT_KEY_ID] = SigningKey(DEFAULT_KEY_ID, (DEVELOPMENT_SECRET,))
    return keys


class Ports(NamedTuple):
    """Where each protocol is served; None where it is not."""

    http: int
    grpc: int | None
    flight: int | None


@dataclass
class Service:
    """The running parts behind the doors; ``close`` ends what streams. ``grpc_port`` is known once they are open."""

    app: FastAPI
    exports: Exports
    config: Config
    callers: Callers
    links: Links
    pushes: Pushes | None
    _store: Store
    _stopped: threading.Event
    _ingests: list[Ingest]
    grpc_port: int | None = None
    flight_port: int | None = None

    def close(self) -> None:
        self._stopped.set()
        for ingest in self._ingests:
            ingest.stop()
        self.exports.close()
        if self.exports.sensors is not None:
            self.exports.sensors.store.close()
        if self.pushes is not None:
            self.pushes.close()
        self.exports.spool.close()
        self._store.close()


def database(config: Config, **pool: Any) -> Store:
    """The store of exports, its tables made; ``pool`` as :func:`fluxport.tables.connect` takes it."""
    from fluxport.jobs.store import Store

    if config.database == "memory":
        raise Refused(
            "The database 'memory' is one service's own: set 'database' to sqlite:///FILE or postgresql://... instead.",
            code="not_shared",
        )
    store = Store(config.database, **pool)
    store.create_tables()
    return store


def exports_of(config: Config, store: Store) -> Exports:
    from fluxport.jobs.exports import Exports, ExportsOptions
    from fluxport.jobs.spool import SpoolOptions

    limits, spool = config.limits, config.server.spool
    return Exports(
        connections(config),
        {name: sink(entry) for name, entry in config.stores.items()},
        store,
        ExportsOptions(
            active_max=limits.active_max,
            queue_max=limits.queue_max,
            connection_wait_s=limits.connection_wait_s,
            history_s=limits.history_s,
            audit_s=limits.audit_s,
            webhooks=webhook_options(config),
            mail_domains=None if config.email.domains is None else tuple(config.email.domains),
            limits=Limits(
                rows_max=limits.rows_max,
                bytes_max=limits.bytes_max,
                cell_bytes_max=limits.cell_bytes_max,
                deadline_s=limits.export_s,
            ),
            spool=SpoolOptions(spool.bytes_max, spool.all_bytes_max, spool.least_bytes_s, spool.path),
        ),
        datasets(config),
        sensors(config, store.clock),
    )


def service(config: Config) -> Service:
    """Everything put together; Refused if the configuration cannot work."""
    from fluxport.http.historian import HistorianOptions
    from fluxport.http.queue import QueueOptions
    from fluxport.http.readiness import Readiness
    from fluxport.http.server import build
    from fluxport.pages import routes as pages

    if not config.connections and config.series.path is None and "grpc" not in config.model_fields_set:
        raise Refused(
            "No database is configured: set MYSQL_DSN, or connections.main.url in fluxport.yaml, or series.path, "
            "or try `fluxport demo`.",
            code="no_connection",
        )
    folder = config.server.spool.path
    if folder is not None and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise Refused("Setting 'server.spool.path' must name a folder that can be written.", code="bad_configuration")
    store = database(config)
    exports = exports_of(config, store)
    clockwork = schedules(config)
    for schedule in clockwork.values():
        _check_schedule(exports, schedule)
    sign_in, callers = identity(config, store)
    links = _links(config, exports.stores)
    app = build(
        exports,
        callers,
        links,
        sign_in,
        compression=config.compression,
        historian=HistorianOptions(open_to=_open_to(config), body_max_bytes=config.series.body_max_bytes),
        export_queue=QueueOptions(
            enabled=config.export_queue.enabled,
            persistent=config.export_queue.persist and config.database != "memory",
            developer=config.auth.development_user,
            health_for=details_for(config),
        ),
        send_timeout_s=config.server.send_timeout_s,
        schedules=clockwork,
        ready=Readiness(exports, callers),
        metrics_for=config.server.metrics,
        details_for=details_for(config),
        proxies=proxies(config),
    )
    reading = ingests(config, exports)
    if exports.sensors is not None:
        exports.sensors.store.start()
    for ingest in reading:
        ingest.start()
    app.include_router(pages.router())
    stopped = threading.Event()
    background("fluxport-sweep", keep_going, "a sweep", stopped, SWEEP_EVERY_S, sweeper(exports))
    pushes = pushes_of(config, exports) if config.grpc.enabled else None
    return Service(app, exports, config, callers, links, pushes, store, stopped, reading)


def ingests(config: Config, exports: Exports) -> list[Ingest]:
    """What reads points from elsewhere, not yet started."""
    found: list[Ingest] = []
    nats, mqtt, most = config.series.nats, config.series.mqtt, config.series.body_max_bytes
    if (nats.url or mqtt.url) and config.series.path is None:
        raise Refused("Points from NATS and MQTT need a store of ours: set series.path.", code="bad_configuration")
    if nats.url is not None:
        from fluxport.ingest.nats import NatsIngest, NatsOptions

        options = NatsOptions(nats.url.get_secret_value(), nats.stream, nats.subject, nats.durable, most)
        found.append(NatsIngest(exports.sensor_store(), options))
    if mqtt.url is not None:
        from fluxport.ingest.mqtt import MqttIngest, MqttOptions

        wanted = MqttOptions(mqtt.url.get_secret_value(), mqtt.topic, mqtt.client_id, most)
        found.append(MqttIngest(exports.sensor_store(), wanted))
    return found


def pushes_of(config: Config, exports: Exports) -> Pushes:
    from fluxport.jobs.pushes import Pushes

    if config.grpc.store not in config.stores:
        raise Refused(
            f"Setting 'grpc.store' names {config.grpc.store!r}; the stores are: {', '.join(sorted(config.stores))}.",
            code="bad_configuration",
        )
    return Pushes(exports, store=config.grpc.store, keep_s=config.limits.keep_s)


def grpc_server(running: Service, http_port: int) -> GrpcServer:
    """The server for pushed rows, not yet started; to be called in the event loop that it will run in. Its links lead
    to the HTTP server."""
    from fluxport.auth.proxies import networks
    from fluxport.grpc.callers import PushCallers
    from fluxport.grpc.sensors import SensorService
    from fluxport.grpc.server import GrpcServer, ServerOptions, tls
    from fluxport.grpc.service import ExportService, ServiceOptions

    assert running.pushes is not None
    config = running.config
    options, keyless, owner = config.grpc, list(config.grpc.keyless), "push"
    if config.auth.development_user:
        keyless, owner = [*keyless, "127.0.0.0/8", "::1/128"], "dev"
    callers = PushCallers(
        running.callers.keys,
        running.callers.rate,
        keyless=networks(keyless),
        keyless_owner=owner,
        one_answer=frozenset(options.one_answer_keys),
        proxies=proxies(config),
    )
    service = ExportService(
        running.pushes,
        callers,
        file_url(running, http_port),
        ServiceOptions(options.tasks_max, options.queue_max, options.queue_s, options.idle_s, options.batch_rows_max),
    )
    return GrpcServer(
        service,
        SensorService(running.exports, callers),
        ServerOptions(
            options.host or config.server.host,
            grpc_port(config),
            options.message_max_bytes,
            tls(options.tls_certificate, options.tls_key, options.client_ca),
            reflection=details_for(config) == "on",
        ),
        calls_max=options.tasks_max + options.queue_max,
    )


def flight_server(running: Service, http_port: int) -> FlightServer:
    """The Flight server, which listens and serves at once."""
    from pyarrow import ArrowException

    from fluxport.flight.server import FlightOptions, FlightServer

    assert running.pushes is not None
    config, options = running.config, running.config.grpc
    host, port = options.host or config.server.host, config.flight.port or 0
    try:
        return FlightServer(
            running.pushes,
            running.callers.keys,
            running.callers.rate,
            file_url(running, http_port),
            FlightOptions(
                host,
                port,
                tasks_max=options.tasks_max,
                queue_max=options.queue_max,
                queue_s=options.queue_s,
                batch_rows_max=options.batch_rows_max,
                certificate=options.tls_certificate,
                key=options.tls_key,
                client_ca=options.client_ca,
                proxies=proxies(config),
            ),
        )
    except ArrowException:  # of which only gRPC's own log says more
        raise Refused(
            f"Cannot listen on {host}:{port} for Arrow Flight; set another flight.port.", code="address_in_use"
        ) from None


def end_flight(flight: FlightServer, most_s: float) -> None:
    """Take no more calls and give those that run a moment; one whose client neither sends nor leaves cannot be ended
    and holds nothing up."""
    background("fluxport-flight-end", attempt, "ending Arrow Flight", flight.shutdown).join(most_s)


def file_url(running: Service, http_port: int) -> Callable[[Record], str]:
    """What makes the link to a record's file, working as long as the file is kept."""
    base = base_url(running.config, http_port)

    def url(record: Record) -> str:
        link = running.links.make(record, base, running.exports.store.clock(), lasting=True)
        return link["url"] if link else ""

    return url


def grpc_port(config: Config) -> int:
    if config.grpc.port is not None:
        return config.grpc.port
    return 9090 if config.server.port else 0


def base_url(config: Config, port: int) -> str:
    """How clients reach the HTTP server, as far as can be known without ``server.public_url``."""
    host = config.server.host
    if host in ("0.0.0.0", "::"):  # noqa: S104  not what is listened on: what links cannot start with
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _check_schedule(exports: Exports, schedule: Schedule) -> None:
    """Refused at the start rather than at night."""
    try:
        asked = exports.checked(schedule.request, schedule.caller)
        exports.check(asked.spec, schedule.owner, may_split=asked.may_split)
    except Refused as error:
        raise Refused(f"Schedule {schedule.name!r}: {error.message}", code="bad_configuration") from None


def check_accounts(config: Config) -> None:
    """In production, Refused for a connection whose account may do more than read; one that cannot be asked now is
    only told."""
    if config.app_env != "production":
        return
    from fluxport.sources.accounts import look

    for name, entry in config.connections.items():
        try:
            account = look(entry.url.get_secret_value())
        except FluxportError as error:
            log.warning("connection %s cannot be looked at: %s", name, error.message)
            continue
        if not account.checked:
            log.warning("connection %s: %s", name, account.sentence)
        if account.excess:
            raise Refused(
                f"Connection {name!r} must not be used in production: {account.sentence}", code="account_too_mighty"
            )


def _open_to(config: Config) -> Literal["local", "on", "off"]:
    """Who may read sensors without a key: callers on this machine in development alone."""
    wanted = config.series.open
    return "off" if wanted == "local" and config.app_env == "production" else wanted


def details_for(config: Config) -> Literal["local", "on", "off"]:
    """Who may see what the service is made of."""
    if config.server.details != "auto":
        return config.server.details
    return "local" if config.app_env == "production" else "on"


def proxies(config: Config) -> Proxies:
    """Whom the service believes where requests come from."""
    from fluxport.auth.proxies import Proxies, networks

    return Proxies(networks(config.server.trusted_proxies), config.server.proxy_header)


def identity(config: Config, store: Store) -> tuple[SignIn, Callers]:
    """Who may sign in, and who may call."""
    from fluxport.auth.keys import Keys
    from fluxport.auth.rate import Rate
    from fluxport.auth.sessions import Sessions
    from fluxport.auth.signin import SignIn
    from fluxport.auth.users import Users
    from fluxport.http.callers import Callers
    from fluxport.http.cookies import Cookies

    clock = store.clock
    sessions = Sessions(store.engine, development=config.app_env == "development", clock=clock)
    callers = Callers(
        signing_keys(config),
        _replays(config, store),
        Keys(store.engine, clock=clock),
        sessions,
        Rate(config.limits.requests_per_minute),
        cookies=Cookies(https=(config.server.public_url or "").startswith("https:")),
        body_max_bytes=config.server.body_max_bytes,
        clock=clock,
    )
    return SignIn(store.engine, Users(store.engine, clock=clock), sessions, store.note, clock=clock), callers


def worker(config: Config) -> Worker:
    """What carries out stored exports, not yet started."""
    from fluxport.jobs.carry import Carrier, CarryOptions
    from fluxport.jobs.engine import SESSIONS, Worker
    from fluxport.jobs.schedule import Scheduler

    store = database(config, pool_size=SESSIONS, patient=True)
    exports = exports_of(config, store)
    carrier = Carrier(
        store,
        exports.stores,
        exports.plan,
        CarryOptions(keep_s=config.limits.keep_s),
    )
    return Worker(
        store,
        carrier,
        workers=config.limits.workers,
        queries_max=exports.queries_max,
        teller=teller(config, store, exports.stores, carrier.draining),
        scheduler=Scheduler(exports, schedules(config)),
    )


def schedules(config: Config) -> dict[str, Schedule]:
    from fluxport.jobs.request import ExportRequest
    from fluxport.jobs.schedule import Schedule

    return {
        name: Schedule(
            name,
            entry.cron,
            entry.timezone,
            entry.user,
            ExportRequest.from_json(entry.export),
            catch_up=entry.missed == "run",
        )
        for name, entry in config.schedules.items()
    }


def teller(config: Config, store: Store, stores: Mapping[str, Sink], draining: threading.Event) -> Teller:
    """What tells that exports have ended: the mail server, the webhooks' secrets, links that work as long as files."""
    from fluxport.jobs.tell import Teller

    links = _links(config, stores)
    base = base_url(config, config.server.port)
    return Teller(
        store,
        email_options(config),
        webhook_options(config),
        tuple(secret.get_secret_value() for secret in config.webhooks.secrets),
        link=lambda record: links.make(record, base, store.clock(), lasting=True),
        stores=stores,
        attach=config.email.attach,
        draining=draining,
    )


def email_options(config: Config) -> EmailOptions:
    from fluxport.delivery.email import EmailOptions

    email = config.email
    return EmailOptions(
        host=email.host,
        port=email.port,
        user=email.user,
        password=email.password.get_secret_value(),
        sender=email.sender,
        security=email.security,
        attachment_max_bytes=email.attachment_max_bytes,
    )


def _links(config: Config, stores: Mapping[str, Sink]) -> Links:
    from fluxport.jobs.links import Links, Signed

    signed = {
        name: Signed(stores[name], entry.link_s) for name, entry in config.stores.items() if entry.links == "store"
    }
    return Links(_download_secret(config), config.auth.link_s, config.server.public_url, signed)


def webhook_options(config: Config) -> WebhookOptions:
    from fluxport.delivery.webhook import WebhookOptions

    return WebhookOptions(allow=tuple(config.webhooks.allow), http_allowed=config.webhooks.http_allowed)


def _download_secret(config: Config) -> bytes:
    """The secret of links: as configured, else derived from a key's, so that the service knows the links that its
    workers make, and those from before a restart."""
    if config.auth.download_secret is not None:
        return config.auth.download_secret.get_secret_value().encode()
    keys = signing_keys(config)
    if not keys:
        return secrets.token_bytes(32)
    key = keys[min(keys)].secrets[0].encode()
    return hmac.new(key, b"fluxport download links", "sha256").digest()


def _replays(config: Config, store: Store) -> Replays | SharedReplays:
    """Beside an SQLite file: used signatures are many small writes that nothing else should wait for. In PostgreSQL
    they are in the database, as other machines must know of them."""
    from fluxport.auth.replay import Replays, SharedReplays

    if not config.database.startswith("sqlite:///"):
        return SharedReplays(store.engine)
    path = Path(config.database.removeprefix("sqlite:///"))
    return Replays(path.with_name(path.name + ".signatures"))


def sweeper(exports: Exports) -> Callable[[], None]:
    """What is done in each round of the sweep."""
    rounds = itertools.count()

    def sweep() -> None:
        exports.expire()
        if next(rounds) % STORES_SWEPT_EVERY == 0:
            for name, store in exports.stores.items():
                # No file is so old: only what killed workers left unfinished.
                attempt(f"sweeping the store {name}", partial(store.sweep, math.inf, exports.store.clock()))

    return sweep


def listen(config: Config) -> socket.socket:
    """The listening socket; Refused if the address is taken or not ours."""
    bound = _bound(config.server.host, config.server.port, "", "choose another with --port")
    # Its connections inherit both. asyncio sets the first on none of them, because a listening socket made so does not
    # tell its protocol; without it, an answer of two writes waits 40 ms for the client's acknowledgement.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return bound


def check_grpc(config: Config) -> None:
    """Refused if gRPC or Arrow Flight cannot be served: what fails once the event loop runs only the log can say."""
    if not config.grpc.enabled:
        return
    from fluxport.grpc.server import tls

    credentials = tls(config.grpc.tls_certificate, config.grpc.tls_key, config.grpc.client_ca)
    if config.grpc.tls_required and credentials is None:
        raise Refused(
            "The configuration asks for TLS of gRPC and names no certificate: set grpc.tls_certificate and "
            "grpc.tls_key.",
            code="bad_configuration",
        )
    host, port = config.grpc.host or config.server.host, grpc_port(config)
    with _bound(host, port, " for gRPC", "choose another port with --grpc-port, or set grpc.enabled: false"):
        if config.flight.port is not None:
            _bound(host, config.flight.port, " for Arrow Flight", "set another flight.port").close()


def _bound(host: str, port: int, what: str, advice: str) -> socket.socket:
    """A socket that listens there; Refused, with the reason and ``advice``, if none can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256, reuse_port=False)
    except OSError as error:
        reason = "no such host" if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise Refused(f"Cannot listen on {host}:{port}{what}: {reason}; {advice}.", code="address_in_use") from None


def server(running: Service, port: int, beside: EmbeddedWorker | None = None) -> uvicorn.Server:
    """The HTTP server around a service, not yet started, which listens on ``port``; the gRPC server lives with it."""
    import uvicorn

    from fluxport.http.connections import ConnectionLimits, protocol
    from fluxport.http.draining import DrainingServer

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        import asyncio

        grpc = flight = None
        try:
            if running.pushes is not None and running.config.flight.port is not None:
                flight = await asyncio.to_thread(flight_server, running, port)
                running.flight_port = flight.port
            if running.pushes is not None:
                grpc = grpc_server(running, port)
                await grpc.start()
                running.grpc_port = grpc.port
            yield
        finally:
            running.exports.close()
            if flight is not None:
                await asyncio.to_thread(end_flight, flight, http.left_s(CALLS_END_S))
            if grpc is not None:
                await grpc.stop(http.left_s(CALLS_END_S))
            await asyncio.to_thread(running.close)

    running.app.router.lifespan_context = lifespan
    options = running.config.server
    limits = ConnectionLimits(options.header_timeout_s, options.connections_per_address, proxies(running.config))
    settings = uvicorn.Config(
        running.app,
        http=protocol(limits),  # type: ignore[arg-type]  # called as the class that it would be
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    beside = beside or EmbeddedWorker()
    http = DrainingServer(settings, running.exports, running.config.server.grace_s, beside.end, beside.end_now)
    return http


def serve(config: Config, ready: Callable[[Ports], None], *, worker: Sequence[str] = ()) -> bool:
    """Serve until a signal ends it; ``ready`` is called with the ports once requests are answered. False if a second
    signal ended it: what it was doing then may hold threads.

    ``worker`` are the words after ``fluxport`` that start a worker beside the service; none, no worker.
    """
    end_with_any_thread()
    check_accounts(config)
    with kept_database(config) as kept, shared_stores(kept) as (settled, named):
        bound = listen(settled)
        check_grpc(settled)
        running = service(settled)
        beside = EmbeddedWorker(worker, {"FLUXPORT_DATABASE": settled.database, **named})
        http = server(running, bound.getsockname()[1], beside)

        def end(number: int, frame: FrameType | None) -> None:
            http.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            # The server has handlers of its own while it runs. Then it raises the signal that ended it once more, and
            # what follows must still happen.
            signal.signal(number, end)
        terminating()
        announce(http, lambda: ready(Ports(bound.getsockname()[1], running.grpc_port, running.flight_port)))
        with beside.running():
            http.run(sockets=[bound])
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: beside.end_now())
            if http.force_exit:
                running.exports.close()
        return not http.force_exit


@contextlib.contextmanager
def kept_database(config: Config) -> Iterator[Config]:
    """The configuration with a database that several processes can reach: ``memory`` is a file that is gone after."""
    if config.database != "memory" and config.export_queue.persist:
        yield config
        return
    with tempfile.TemporaryDirectory(prefix="fluxport-") as folder:
        queue = config.export_queue.model_copy(update={"persist": False})
        yield config.model_copy(update={"database": f"sqlite:///{folder}/fluxport.db", "export_queue": queue})


@contextlib.contextmanager
def shared_stores(config: Config) -> Iterator[tuple[Config, dict[str, str]]]:
    """The configuration with stores that service and worker can both reach, and the environment that tells a worker
    where they are: ``memory`` is a folder of the memory file system, if there is one, that is gone after."""
    names = [name for name, entry in config.stores.items() if entry.type == "memory"]
    if not names:
        yield config, {}
        return
    from fluxport.sinks.local import LocalOptions

    memory = Path("/dev/shm")  # noqa: S108  the folder made there is ours alone
    with tempfile.TemporaryDirectory(prefix="fluxport-", dir=memory if os.access(memory, os.W_OK) else None) as folder:
        found = dict(config.stores)
        told: dict[str, str] = {}
        for name in names:
            path = Path(folder, name)
            found[name] = LocalOptions(path=path, links=found[name].links, link_s=found[name].link_s)
            told |= {f"FLUXPORT_STORES__{name.upper()}__TYPE": "local"}
            told |= {f"FLUXPORT_STORES__{name.upper()}__PATH": str(path)}
        yield config.model_copy(update={"stores": found}), told


def announce(http: uvicorn.Server, ready: Callable[[], None]) -> None:
    """Call ``ready``, from a thread of its own, as soon as the server has started."""

    def wait() -> None:
        while not http.started:
            time.sleep(0.01)
        ready()

    threading.Thread(target=wait, name="fluxport-announce", daemon=True).start()
