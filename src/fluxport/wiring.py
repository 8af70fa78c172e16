"""The composition root: the only place that selects implementations and connects them; it starts nothing."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxport.config import Config
from fluxport.errors import QueryRefused, Refused, check_all
from fluxport.plan import Connection, Sensors, guard_dialect, guard_files
from fluxport.sinks import sink
from fluxport.sources import SOURCES, source_of
from fluxport.stages import Limits
from fluxport.systems import FORKS

if TYPE_CHECKING:
    from fastapi import FastAPI

    from fluxport.auth.replay import Replays, SharedReplays
    from fluxport.auth.signin import SignIn
    from fluxport.config import ConnectionConfig
    from fluxport.datasets import Dataset
    from fluxport.delivery.email import EmailOptions
    from fluxport.delivery.webhook import WebhookOptions
    from fluxport.flight.server import FlightServer
    from fluxport.grpc.server import GrpcServer
    from fluxport.http.callers import Callers
    from fluxport.ingest import Ingest
    from fluxport.jobs.catalog import Catalog
    from fluxport.jobs.exports import Exports
    from fluxport.jobs.links import Links
    from fluxport.jobs.notify import Notifier
    from fluxport.jobs.pushes import AdmissionOptions, Pushes
    from fluxport.jobs.schedule import Schedule
    from fluxport.jobs.store import JobStore, Record
    from fluxport.jobs.submit import SubmitOptions, Submitter
    from fluxport.jobs.worker import Worker
    from fluxport.stages import Sink, Source

from fluxport import addresses

log = logging.getLogger("fluxport.app")


def connections(config: Config) -> dict[str, Connection]:
    """The databases of the configuration, each with its guard."""
    from fluxport.policy.guard import GuardPolicy
    from fluxport.sources import SourceOptions

    by_name = {}
    for name, entry in config.connections.items():
        url, files = entry.address, files_of(name, entry)
        try:
            guard = GuardPolicy(
                dialect=guard_dialect(url),
                files=guard_files(files),
                schemas=None if entry.schemas is None else frozenset(entry.schemas),
                tables=None if entry.tables is None else frozenset(entry.tables),
                functions=frozenset(entry.functions),
                params=True,
            )
        except QueryRefused:
            guard = None
        by_name[name] = Connection(
            name,
            url,
            guard,
            entry.queries_max,
            SourceOptions(
                tinyint1_bool=entry.tinyint1_bool,
                shown=f"the connection {name!r}",
                connect_timeout_s=entry.connect_timeout_s,
                read_timeout_s=entry.read_timeout_s,
                files=files,
            ),
        )
    return by_name


def files_of(name: str, entry: ConnectionConfig) -> Path | None:
    """The folder of files that queries on this connection may read; Refused if it cannot be."""
    if entry.files is None:
        return None
    if not SOURCES[source_of(entry.url.get_secret_value())].files:
        raise Refused(
            f"Connection {name!r}: this kind of database reads no files; remove 'files'.", code="bad_configuration"
        )
    if not FORKS:
        raise Refused(
            f"Connection {name!r}: 'files' needs a system with fork; this one has none.", code="bad_configuration"
        )
    if not entry.files.path.is_dir():
        raise Refused(
            f"Connection {name!r}: 'files.path' is not a folder that exists; correct it.", code="bad_configuration"
        )
    return entry.files.path.resolve()


def datasets(config: Config) -> dict[str, Dataset]:
    """The declared datasets and those of the sample."""
    from fluxport.datasets import parse_datasets
    from fluxport.samples import datasets as sample_datasets

    sample = sample_datasets() if config.sample == "journal" else {}
    return parse_datasets(sample | config.datasets)


def sensors(config: Config, clock: Callable[[], float] = time.time) -> Sensors | None:
    """The configured sensor store, not yet opened. ``clock`` (Unix seconds) decides which points are too old."""
    series = config.series
    if series.connection is not None:
        return _remote_sensors(config)
    if series.path is None:
        return None
    from fluxport.series.embedded import EmbeddedOptions, EmbeddedStore

    options = EmbeddedOptions(sensors_max=series.sensors_max, keep_s=series.keep_s)
    return Sensors(EmbeddedStore(series.path, options, clock), series.exports_max, "series")


def _remote_sensors(config: Config) -> Sensors:
    from fluxport.series.remote import RemoteOptions, RemoteStore
    from fluxport.sources import open_source

    series = config.series
    connection = connections(config)[series.connection or ""]
    limits = Limits(deadline_s=config.limits.export_s)

    def run(statement: str, values: Sequence[Any]) -> Source:
        return open_source(connection.url, statement, values, options=connection.options, limits=limits)

    store = RemoteStore(RemoteOptions(**series.remote.model_dump()), run)
    return Sensors(store, connection.queries_max, connection.name)


def limits(config: Config) -> Limits:
    """The limits of every export."""
    configured = config.limits
    return Limits(
        rows_max=configured.rows_max,
        bytes_max=configured.bytes_max,
        cell_bytes_max=configured.cell_bytes_max,
        deadline_s=configured.export_s,
    )


@dataclass
class Service:
    """The service's application and its parts. ``start`` begins background work, ``close`` ends it and all streams.
    ``forget`` deletes old jobs of the Export queue, in its mode without persistence. ``grpc_port`` and ``flight_port``
    are set once those listen."""

    app: FastAPI
    exports: Exports
    config: Config
    callers: Callers
    links: Links
    pushes: Pushes | None
    sweep: Callable[[], None]
    forget: Callable[[], None] | None
    _ingests: list[Ingest]
    stopped: threading.Event = field(default_factory=threading.Event)
    grpc_port: int | None = None
    flight_port: int | None = None

    def file_url(self, http_port: int) -> Callable[[Record], str]:
        """A function that returns links to files, for an HTTP server on that port."""
        return addresses.file_url(self.links, self.exports.store.clock, addresses.base_url(self.config, http_port))

    def start(self) -> None:
        """Start the sensor store and the ingestion of points."""
        if (sensors := self.exports.catalog.sensors) is not None:
            sensors.store.start()
        for ingest in self._ingests:
            ingest.start()

    def end_streams(self) -> None:
        """Accept no new exports; end running streams, pushes and event listeners."""
        from fluxport.jobs.transfers import shutting_down

        self.exports.transfers.close()
        self.exports.watch.close(shutting_down())

    def close(self) -> None:
        self.stopped.set()
        for ingest in self._ingests:
            ingest.stop()
        self.end_streams()
        if (sensors := self.exports.catalog.sensors) is not None:
            sensors.store.close()
        if self.pushes is not None:
            self.pushes.close()
        self.exports.streams.spool.close()
        self.exports.store.close()


def database(config: Config, **pool: Any) -> JobStore:
    """The job store, its tables created or upgraded; ``pool`` is passed to :func:`fluxport.tables.connect`."""
    from fluxport.jobs.store import JobStore

    if config.database == "memory":
        raise Refused(
            "The database 'memory' cannot be shared: set 'database' to sqlite:///FILE or postgresql://... instead.",
            code="not_shared",
        )
    store = JobStore(config.database, **pool)
    store.create_tables()
    return store


def catalog_of(config: Config, store: JobStore) -> Catalog:
    from fluxport.jobs.catalog import Catalog

    return Catalog(
        connections(config),
        {name: sink(entry) for name, entry in config.stores.items()},
        limits(config),
        datasets(config),
        sensors(config, store.clock),
    )


def submit_options(config: Config) -> SubmitOptions:
    from fluxport.jobs.submit import SubmitOptions

    return SubmitOptions(
        {
            "native": config.limits.active_max,
            "schedule": config.limits.active_max,
            "fluxquery": config.fluxquery.active_max,
            "queue": config.export_queue.active_max,
        },
        config.limits.queue_max,
        webhook_options(config),
        None if config.email.domains is None else tuple(config.email.domains),
    )


def exports_of(config: Config, store: JobStore) -> Exports:
    from fluxport.jobs.exports import Exports
    from fluxport.jobs.slots import connection_slots
    from fluxport.jobs.spool import Spool, SpoolOptions
    from fluxport.jobs.streams import Streams
    from fluxport.jobs.submit import Submitter
    from fluxport.jobs.transfers import Transfers
    from fluxport.jobs.watch import Watch

    catalog, transfers, spool = catalog_of(config, store), Transfers(), config.server.spool
    options = SpoolOptions(spool.bytes_max, spool.all_bytes_max, spool.least_bytes_s, spool.path)
    slots = connection_slots(catalog, config.limits.connection_wait_s)
    return Exports(
        catalog,
        store,
        transfers,
        Submitter(catalog, store, submit_options(config), transfers.check_open),
        Streams(catalog, store, transfers, slots, Spool(options)),
        Watch(store.happened),
    )


def _check_sources(config: Config) -> None:
    if not config.connections and config.series.path is None and "grpc" not in config.model_fields_set:
        raise Refused(
            "No database is configured: set MYSQL_DSN, or connections.main.url in fluxport.yaml, or series.path, "
            "or try `fluxport demo`.",
            code="no_connection",
        )


def _check_spool(config: Config) -> None:
    folder = config.server.spool.path
    if folder is not None and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise Refused("Setting 'server.spool.path' must name a writable folder.", code="bad_configuration")


# What a valid configuration may lack for a service, though not for other commands. Each raises Refused.
SERVICE_CHECKS: tuple[Callable[[Config], None], ...] = (_check_sources, _check_spool)


def service(config: Config) -> Service:
    """The whole service, not yet started; Refused if the configuration is invalid."""
    from fluxport.http.historian import HistorianOptions
    from fluxport.http.queue import API as QUEUE
    from fluxport.http.queue import QueueOptions
    from fluxport.http.readiness import Readiness
    from fluxport.http.server import build
    from fluxport.jobs.sweep import SweepOptions, forget, sweeper
    from fluxport.pages import routes as pages

    check_all(*(partial(check, config) for check in SERVICE_CHECKS))
    store = database(config)
    exports = exports_of(config, store)
    catalog, by_name = exports.catalog, schedules(config)
    for schedule in by_name.values():
        _check_schedule(exports.submitter, catalog, schedule)
    sign_in, callers = identity(config, store)
    links = addresses.links_of(config, catalog.sinks, store)
    persistent = config.export_queue.persist and config.database != "memory"
    app = build(
        exports,
        callers,
        links,
        sign_in,
        compression=config.compression,
        historian=HistorianOptions(
            open_to=addresses.sensors_open_to(config), body_max_bytes=config.series.body_max_bytes
        ),
        export_queue=QueueOptions(
            enabled=config.export_queue.enabled,
            persistent=persistent,
            developer=config.auth.development_user,
            health_for=addresses.details_for(config),
        ),
        send_timeout_s=config.server.send_timeout_s,
        schedules=by_name,
        ready=Readiness(catalog, store, exports.transfers, callers),
        metrics_for=config.server.metrics,
        details_for=addresses.details_for(config),
        proxies=addresses.proxies(config),
        cors=config.server.cors,
    )
    app.include_router(pages.router())
    pushed = config.grpc.enabled or config.flight.port is not None
    pushes = pushes_of(config, exports) if pushed else None
    bounds = config.limits
    sweep = sweeper(store, catalog.sinks, SweepOptions(bounds.export_s, bounds.history_s, bounds.audit_s))
    forgetting = None if persistent else partial(forget, store, catalog.sinks, QUEUE)
    return Service(app, exports, config, callers, links, pushes, sweep, forgetting, ingests(config, catalog))


def ingests(config: Config, catalog: Catalog) -> list[Ingest]:
    """The readers of points from NATS and MQTT, not yet started."""
    readers: list[Ingest] = []
    nats, mqtt, most = config.series.nats, config.series.mqtt, config.series.body_max_bytes
    if nats.url is not None:
        from fluxport.ingest.nats import NatsIngest, NatsOptions

        options = NatsOptions(
            nats.url.get_secret_value(), nats.stream, nats.subject, nats.durable, most, nats.dead_letter, nats.type
        )
        readers.append(NatsIngest(catalog.sensor_store(), options))
    if mqtt.url is not None:
        from fluxport.ingest.mqtt import MqttIngest, MqttOptions

        mqtt_options = MqttOptions(
            mqtt.url.get_secret_value(), mqtt.topic, mqtt.client_id, most, mqtt.dead_letter, mqtt.type
        )
        readers.append(MqttIngest(catalog.sensor_store(), mqtt_options))
    return readers


def pushes_of(config: Config, exports: Exports) -> Pushes:
    from fluxport.jobs.pushes import Pushes

    return Pushes(
        exports.catalog,
        exports.store,
        exports.transfers,
        store_name=config.grpc.store,
        keep_s=config.limits.keep_s,
    )


def admission_of(config: Config) -> AdmissionOptions:
    """The admission options of each push protocol."""
    from fluxport.jobs.pushes import AdmissionOptions

    return AdmissionOptions(config.grpc.tasks_max, config.grpc.queue_max, config.grpc.queue_s)


def grpc_server(running: Service, http_port: int) -> GrpcServer:
    """The gRPC server, not yet started; call this in the event loop that will run it. Its links lead to the HTTP
    server."""
    from fluxport.auth.proxies import networks
    from fluxport.grpc.answers import AnswerRules
    from fluxport.grpc.callers import PushCallers
    from fluxport.grpc.historian import HistorianQuery
    from fluxport.grpc.sensors import SensorService
    from fluxport.grpc.server import GrpcServer, ServerOptions, tls
    from fluxport.grpc.service import ExportService, ServiceOptions

    assert running.pushes is not None
    config, exports = running.config, running.exports
    options, keyless, owner = config.grpc, list(config.grpc.keyless), "push"
    if config.auth.development_user:
        keyless, owner = [*keyless, "127.0.0.0/8", "::1/128"], "dev"
    callers = PushCallers(
        running.callers.keys,
        running.callers.rate,
        keyless=networks(keyless),
        keyless_owner=owner,
        answers=AnswerRules(options.answers, options.answers_of),
        proxies=addresses.proxies(config),
        open_to=addresses.sensors_open_to(config),
    )
    service = ExportService(
        running.pushes,
        exports.store,
        exports.transfers,
        exports.watch,
        callers,
        running.file_url(http_port),
        ServiceOptions(admission_of(config), options.idle_s, options.batch_rows_max),
    )
    return GrpcServer(
        service,
        SensorService(exports.catalog.sensor_store, callers),
        HistorianQuery(exports.catalog.sensor_store, callers),
        ServerOptions(
            options.host or config.server.host,
            addresses.grpc_port(config),
            tuple(addresses.more_grpc_addresses(config)),
            options.message_max_bytes,
            tls(options.tls_certificate, options.tls_key, options.client_ca),
            reflection=addresses.details_for(config) == "on",
        ),
        calls_max=options.tasks_max + options.queue_max,
    )


def flight_server(running: Service, http_port: int) -> FlightServer:
    """The Flight server, which serves as soon as it is created."""
    from pyarrow import ArrowException

    from fluxport.flight.server import FlightOptions, FlightServer

    assert running.pushes is not None
    config, options = running.config, running.config.grpc
    host, port = options.host or config.server.host, config.flight.port or 0
    try:
        return FlightServer(
            running.pushes,
            running.exports.streams,
            running.exports.transfers,
            running.callers.keys,
            running.callers.rate,
            running.file_url(http_port),
            FlightOptions(
                host,
                port,
                admission=admission_of(config),
                idle_s=options.idle_s,
                batch_rows_max=options.batch_rows_max,
                certificate=options.tls_certificate,
                key=options.tls_key,
                client_ca=options.client_ca,
                proxies=addresses.proxies(config),
            ),
        )
    except ArrowException:  # it has no reason; gRPC logs one itself
        raise Refused(
            f"Cannot listen on {host}:{port} for Arrow Flight; set another flight.port.", code="address_in_use"
        ) from None


def _check_schedule(submitter: Submitter, catalog: Catalog, schedule: Schedule) -> None:
    """Refused if the schedule's export would be refused: better at the start than when its first run is due."""
    try:
        request = submitter.checked(schedule.request, schedule.caller)
        catalog.check(request.spec, schedule.owner, may_split=request.may_split)
    except Refused as error:
        raise Refused(f"Schedule {schedule.name!r}: {error.message}", code="bad_configuration") from None


def identity(config: Config, store: JobStore) -> tuple[SignIn, Callers]:
    """Sign-in of people, and authentication of callers."""
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
        addresses.signing_keys(config),
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
    """The worker that runs stored exports, not yet started."""
    from fluxport.jobs.attempts import AttemptOptions, Attempts
    from fluxport.jobs.schedule import Scheduler
    from fluxport.jobs.submit import Submitter
    from fluxport.jobs.worker import SESSIONS, Worker

    store = database(config, pool_size=SESSIONS, patient=True)
    catalog = catalog_of(config, store)
    attempts = Attempts(
        store,
        catalog.sinks,
        catalog.plan,
        AttemptOptions(keep_s=config.limits.keep_s),
    )
    return Worker(
        store,
        attempts,
        workers=config.limits.workers,
        queries_max=catalog.queries_max,
        notifier=notifier(config, store, catalog.sinks, attempts.draining),
        scheduler=Scheduler(Submitter(catalog, store, submit_options(config)), store, schedules(config)),
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


def notifier(config: Config, store: JobStore, sinks: Mapping[str, Sink], draining: threading.Event) -> Notifier:
    """The notifier of ended exports, with the mail server, webhook secrets and links that are valid until files
    expire."""
    from fluxport.jobs.notify import Notifier

    links = addresses.links_of(config, sinks, store)
    base = addresses.base_url(config, config.server.port)
    return Notifier(
        store,
        email_options(config),
        webhook_options(config),
        tuple(secret.get_secret_value() for secret in config.webhooks.secrets),
        link=lambda record: links.make(record, base, store.clock(), lasting=True),
        sinks=sinks,
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


def webhook_options(config: Config) -> WebhookOptions:
    from fluxport.delivery.webhook import WebhookOptions

    return WebhookOptions(allow=tuple(config.webhooks.allow), http_allowed=config.webhooks.http_allowed)


def _replays(config: Config, store: JobStore) -> Replays | SharedReplays:
    """The store of used signatures. With SQLite it is a file beside the database, as many small writes must not block
    others; with PostgreSQL it is in the database, which all machines share."""
    from fluxport.auth.replay import Replays, SharedReplays

    if not config.database.startswith("sqlite:///"):
        return SharedReplays(store.engine)
    path = Path(config.database.removeprefix("sqlite:///"))
    return Replays(path.with_name(path.name + ".signatures"))
