"""Configuration, read once: ``fluxport.yaml``, then ``.env``, then the environment, then flags (config_sources.py).

An unknown key is an error that suggests the nearest known one; all problems are reported at once. Secrets are masked
wherever a configuration is shown.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    TypeAdapter,
    ValidationError,
)

from fluxport import sinks
from fluxport.auth.proxies import Proxies, networks
from fluxport.auth.scopes import read_scopes
from fluxport.auth.signing import WINDOW_S
from fluxport.config_sources import FLUXQUERY_ATTACHMENT_BYTES, Gathered, gather
from fluxport.datasets import Dataset, parse_datasets
from fluxport.delivery.recipients import is_domain
from fluxport.errors import Refused, together
from fluxport.formats.compress import COMPRESSIONS, canonical
from fluxport.grpc.answers import Answers
from fluxport.jobs.spool import SpoolOptions
from fluxport.middleware_config import EXPORT_S
from fluxport.settings import ByType, Duration, WebAddress, sentence
from fluxport.sinks.local import LocalOptions
from fluxport.sinks.options import SinkOptions
from fluxport.sources import QUERIES_MAX, SOURCES, SourceOptions, dialect_of
from fluxport.spec import ExportSpec
from fluxport.stages import Limits

log = logging.getLogger("fluxport.config")

DEVELOPMENT_SECRET = "devsecret"  # noqa: S105  public by design, refused in production


def _database(value: str) -> str:
    if value != "memory" and not re.fullmatch(r"sqlite:///.+|postgres(ql)?://.+", value):
        raise ValueError("the database is sqlite:///FILE, postgresql://user:password@host/name or memory")
    return value


def _gzip(value: Any) -> Any:
    """FluxQuery had one compression, on or off, in every spelling of true and false."""
    try:
        return "gzip" if _SWITCH.validate_python(value) else "none"
    except ValidationError:
        return value


_SWITCH: TypeAdapter[bool] = TypeAdapter(bool)


def _compression(value: str) -> str:
    try:
        return canonical(value)
    except Refused as error:
        raise ValueError(error.message) from None


def _without_password(url: str) -> str:
    return re.sub(r"(?<=[?&]password=)[^&]*", "***", re.sub(r"(?<=://)([^/@:]*):.*@", r"\1:***@", url))


def _switch(value: Any) -> Any:
    """YAML reads the words on and off as true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def _datasets(declared: dict[str, Any]) -> dict[str, Any]:
    try:
        parse_datasets(declared)
    except Refused as error:
        raise ValueError(error.message.rstrip(".")) from None
    return declared


def _scope(word: str) -> str:
    try:
        read_scopes([word])
    except Refused as error:
        raise ValueError(error.message) from None
    return word


def _network(word: str) -> str:
    networks([word])
    return word


def _origin(word: str) -> str:
    hosts = r"[a-z0-9.-]+|\[[0-9a-f:]+\]"
    if word != "*" and not re.fullmatch(rf"https?://({hosts})(:[0-9]{{1,5}})?", word):
        raise ValueError(
            f"{word!r} is not an origin; write scheme and host as a browser sends them, such as "
            "https://dashboard.example.com or http://localhost:3000"
        )
    return word


def _mail_domain(word: str) -> str:
    if not is_domain(word):
        raise ValueError(f"{word!r} is not a domain; write example.com or *.example.com")
    return word


# Each entry is checked by itself, so that all invalid ones are reported.
Networks = list[Annotated[str, AfterValidator(_network)]]
MailDomains = list[Annotated[str, AfterValidator(_mail_domain)]] | None


def _broker(*schemes: str) -> AfterValidator:
    def checked_url(value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value.get_secret_value())
            usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(f"a broker's URL is {schemes[0]}://user:password@host or {schemes[1]}://...")
        return value

    return AfterValidator(checked_url)


Seconds = Annotated[Duration, Field(gt=0)]
SINK = ByType("a store", "local", sinks.SINKS, sinks.options_class)
SinkConfig = Annotated[SinkOptions, SINK]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class SpoolConfig(Section):
    path: Path | None = Field(
        None, description="folder of the spool file, which is unnamed; default: the system's temporary folder"
    )
    bytes_max: int = Field(SpoolOptions.bytes_max, gt=0, description="bytes spooled for one response")
    all_bytes_max: int = Field(
        SpoolOptions.all_bytes_max, ge=0, description="bytes spooled for all responses; 0 disables the spool"
    )
    least_bytes_s: int = Field(
        SpoolOptions.least_bytes_s,
        ge=0,
        description="if the spool is full, a client that reads slower while others wait is disconnected",
    )


class ServerConfig(Section):
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 or :: for all")
    port: int = Field(8080, ge=0, le=65535, description="port; 0 picks a free one")
    public_url: WebAddress = Field(None, description="base URL of links; default: that of the request")
    send_timeout_s: Seconds = Field(30.0, description="client that reads almost nothing for this long is disconnected")
    body_max_bytes: int = Field(1 << 20, gt=0, description="a larger request body is refused while it is read")
    grace_s: Seconds = Field(10.0, description="time for running exports to finish on shutdown")
    header_timeout_s: Seconds = Field(
        10.0,
        description="longest time for a request's headers, and longest pause in its body; then the client is "
        "disconnected",
    )
    connections_per_address: int = Field(
        512, gt=0, description="connections of one address at once, except of trusted proxies; more are closed"
    )
    spool: SpoolConfig = SpoolConfig()
    metrics: Annotated[Literal["local", "on", "off"], BeforeValidator(_switch)] = Field(
        "local", description="who may read /metrics: this machine, everyone (on), no one (off)"
    )
    details: Annotated[Literal["auto", "local", "on", "off"], BeforeValidator(_switch)] = Field(
        "auto",
        description="who may read /docs, /openapi.json, /api/health, the names in /health/ready, and gRPC's reflection "
        "(only with on): this machine, everyone (on), no one (off); auto is on in development and local in production",
    )
    trusted_proxies: Networks = Field(
        [],
        description="networks of proxies whose header gives the client's address; default: none, the address is the "
        "connection's",
    )
    cors: list[Annotated[str, AfterValidator(_origin)]] = Field(
        [],
        description="origins of web pages elsewhere whose scripts may call this service, such as "
        "https://dashboard.example.com, or * for all; they never use a session of this service",
    )
    proxy_header: Literal["x-forwarded-for", "forwarded"] = Field(
        Proxies.header, description="the header that trusted proxies set; the other one is ignored"
    )


class FilesConfig(Section):
    path: Path = Field(description="folder whose files queries may read, by their path inside it; with DuckDB")


class SshConfig(Section):
    host: str = Field(min_length=1, description="SSH server through which the database is reached")
    port: int = Field(22, ge=1, le=65535, description="its port")
    user: str | None = Field(None, min_length=1, description="the user name; default: that of the process")
    password: SecretStr | None = Field(None, description="the password; default: a key")
    key_file: Path | None = Field(None, description="private key file; default: the agent's keys, and those of ~/.ssh")
    known_hosts: Path | None = Field(
        None, description="file of known server keys in OpenSSH's format; default: ~/.ssh/known_hosts"
    )


class ConnectionConfig(Section):
    url: SecretStr = Field(
        description=f"{' or '.join(entry.example for entry in SOURCES.built_in.values())}, or for MySQL the Go form "
        "user:password@tcp(host:3306)/database"
    )
    ssh: SshConfig | None = Field(None, description="an SSH tunnel to a database of MySQL or PostgreSQL")
    tinyint1_bool: bool = Field(SourceOptions.tinyint1_bool, description="read TINYINT(1) as true and false")
    connect_timeout_s: Seconds | None = Field(
        None, description="timeout of connecting and login; default: 10 s, SQLite and DuckDB 5 s"
    )
    read_timeout_s: Seconds | None = Field(
        None, description="longest time without data from the database; default: 300 s, SQLite and DuckDB no limit"
    )
    queries_max: int = Field(QUERIES_MAX, gt=0, description="concurrent queries on this connection")
    schemas: list[str] | None = Field(None, description="databases that queries may name; default: any but system ones")
    tables: list[str] | None = Field(
        None, description="tables and files that queries may read, as database.table; default: any"
    )
    functions: list[str] = Field([], description="functions that queries may call besides the built-in list")
    files: FilesConfig | None = Field(None, description="files of rows that queries may read; default: none")

    @property
    def address(self) -> str:
        """The URL, with the tunnel; it may hold passwords."""
        url, ssh = self.url.get_secret_value(), self.ssh
        if ssh is None:
            return url
        password = None if ssh.password is None else ssh.password.get_secret_value()
        from fluxport.sources.tunnels import with_tunnel
        from fluxport.ssh import SshServer

        return with_tunnel(url, SshServer(ssh.host, ssh.user, ssh.port, password, ssh.key_file, ssh.known_hosts))


class LimitsConfig(Section):
    rows_max: int | None = Field(None, gt=0, description="an export with more rows fails; default: no limit")
    bytes_max: int | None = Field(None, gt=0, description="an export with a larger file fails; default: no limit")
    cell_bytes_max: int = Field(Limits.cell_bytes_max, gt=0, description="an export with a larger cell fails")
    export_s: Seconds = Field(EXPORT_S, description="longest time of one export")
    active_max: int = Field(
        5, gt=0, description="exports that one caller of /v1 may have queued and running, and as many by schedules"
    )
    workers: int = Field(10, gt=0, le=64, description="stored exports that one worker runs at once")
    queue_max: int = Field(100, gt=0, description="stored exports in the queue; more get 503")
    connection_wait_s: Seconds = Field(60.0, description="longest wait of a direct stream for a connection's slot")
    keep_s: Seconds = Field(7 * 86400.0, description="retention of stored files")
    history_s: Duration = Field(
        90 * 86400.0,
        ge=2 * WINDOW_S,
        description="retention of the records of ended exports; at least as long as a signature of version 1 is valid",
    )
    audit_s: Seconds = Field(400 * 86400.0, description="retention of audit lines")
    requests_per_minute: int = Field(600, gt=0, description="requests of one key or user; more get 429")


class KeyConfig(Section):
    secrets: list[SecretStr] = Field(min_length=1, max_length=2, description="one secret; two during rotation")
    user: str | None = Field(
        None, min_length=1, max_length=128, description="owner of its exports; default: the key itself"
    )
    scopes: Annotated[list[Annotated[str, AfterValidator(_scope)]], AfterValidator(sorted)] | None = Field(
        None, description="what the key may do, such as sql:main or dataset:*; default: everything"
    )
    own_results: bool = Field(
        False, description="the key sees only its own exports; default: all of its user's within its scopes"
    )
    mail_domains: MailDomains = Field(None, description="domains its mails may go to; default: email.domains")


class AuthConfig(Section):
    api_secret: SecretStr | None = Field(
        None,
        description="secret of the key 'default'; in development, if only this machine can connect, its default is "
        "devsecret",
    )
    download_secret: SecretStr | None = Field(
        None,
        description="secret that signs download links; default: derived from a configured key, else a random one in "
        "the database",
    )
    keys: dict[str, KeyConfig] = {}
    link_s: Seconds = Field(3600.0, description="how long a download link is valid")
    development_user: bool = Field(
        False, description="in development, callers of /api/exports from this machine without a key are the user dev"
    )


class FluxQueryConfig(Section):
    active_max: int = Field(100, gt=0, description="exports that a caller of POST /export may have queued and running")


class ExportQueueConfig(Section):
    enabled: bool = Field(True, description="serve /api/exports, the API of the Export queue's clients")
    active_max: int = Field(5, gt=0, description="exports that one caller of this API may have queued and running")
    persist: bool = Field(
        True,
        description="off: like database: memory, exports are lost when the service stops, and completed jobs of the "
        "Export queue after 15 minutes",
    )


class EmailConfig(Section):
    host: str = Field("", description="mail server; without one, mails are only logged")
    port: int = Field(587, ge=1, le=65535, description="port of the mail server")
    user: str = Field("", description="account for login")
    password: SecretStr = Field(SecretStr(""), description="password of the account")
    sender: str = Field("", description="sender of mails, such as exports@example.com; default: the user")
    security: Literal["auto", "starttls", "tls", "none"] = Field("auto", description="how the connection is encrypted")
    domains: MailDomains = Field(
        None, description="domains that mails may go to, such as example.com or *.example.com; default: any"
    )
    attach: bool = Field(True, description="attach small files, send a link for larger ones")
    attachment_max_bytes: int = Field(
        10 << 20,
        ge=0,
        le=FLUXQUERY_ATTACHMENT_BYTES,
        description="the largest file that is attached; default with EMAIL_ATTACH_FILE: 25 MiB",
    )


def _webhook_secret(secret: SecretStr) -> SecretStr:
    from fluxport.delivery.webhook import check_secret

    try:
        check_secret(secret.get_secret_value())
    except Refused as error:
        raise ValueError(error.message.rstrip(".")) from None
    return secret


class WebhooksConfig(Section):
    secrets: list[Annotated[SecretStr, AfterValidator(_webhook_secret)]] = Field(
        [], max_length=2, description="secrets that sign webhooks; two during rotation"
    )
    allow: list[str] = Field([], description="hosts and networks that may be reached although they are not public")
    http_allowed: bool = Field(False, description="allow http targets besides https")


def _cron(value: str) -> str:
    from fluxport.jobs.schedule import is_cron

    if not is_cron(value):
        raise ValueError(
            "a cron expression has five fields, minute hour day month weekday, such as 0 6 * * 1-5, "
            "and is due on some day"
        )
    return value


def _zone(value: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("a time zone is an IANA name such as Europe/Berlin") from None
    return value


def _export_body(value: dict[str, Any]) -> dict[str, Any]:
    from fluxport.jobs.request import ExportRequest

    try:
        ExportRequest.from_json(value)
    except Refused as error:
        raise ValueError(error.message.rstrip(".")) from None
    return value


class ScheduleConfig(Section):
    cron: Annotated[str, AfterValidator(_cron)] = Field(
        description="when: minute hour day month weekday, such as 0 6 * * 1-5; six fields begin with seconds"
    )
    timezone: Annotated[str, AfterValidator(_zone)] = Field("UTC", description="time zone of cron")
    user: str = Field(min_length=1, max_length=128, description="owner of the exports")
    missed: Literal["tell", "run"] = Field(
        "tell",
        description="for runs that are over a minute late: tell records one failed export, run also runs once for all",
    )
    export: Annotated[dict[str, Any], AfterValidator(_export_body)] = Field(
        description="what is exported: the body of POST /v1/exports"
    )


class RemoteSeriesConfig(Section):
    table: str = Field("points", description="table or view of points on series.connection")
    sensor: str = Field("sensor_id", description="column with the sensor's id")
    time: str = Field("timestamp_ms", description="column with milliseconds since 1970")
    value: str = Field("value", description="column with the numbers")
    quality: str = Field("quality", description="column with 0 (bad) or 1 (good); empty if there is none")
    sensors_table: str = Field("", description="table with one row per sensor, whose id column has the same name")
    name: str = Field("", description="column of sensors_table with the sensor's name; empty if there is none")
    unit: str = Field("", description="column of sensors_table with its unit; empty if there is none")
    attributes: dict[str, str] = Field(
        {}, description="further columns of sensors_table, by the name of the attribute: {line: line_no, desc: title}"
    )


def _points_type(value: str) -> str:
    from fluxport.series.bodies import points_type

    try:
        return points_type(value)
    except Refused as error:
        raise ValueError(error.message.rstrip(".")) from None


PointsType = Annotated[str, AfterValidator(_points_type)]


class NatsConfig(Section):
    url: Annotated[SecretStr | None, _broker("nats", "tls", "ws", "wss")] = Field(
        None, description="nats://user:password@host:4222; without one, NATS is off"
    )
    stream: str = Field("SENSORS", description="JetStream stream of the messages; created if it does not exist")
    subject: str = Field("sensors.>", description="subjects to read")
    durable: str = Field("fluxport", description="name of the durable consumer; services with the same name share work")
    type: PointsType | None = Field(
        None,
        description="type of messages without a Content-Type; default: application/json, or application/x-protobuf on "
        "the Historian's subject data.raw",
    )
    dead_letter: str = Field(
        "fluxport.dead",
        min_length=1,
        description="subject of messages that can never be stored; if no stream has it, one is created",
    )


class MqttConfig(Section):
    url: Annotated[SecretStr | None, _broker("mqtt", "mqtts")] = Field(
        None, description="mqtt://user:password@host:1883 or mqtts://...; without one, MQTT is off"
    )
    topic: str = Field("sensors/#", description="topics to read")
    client_id: str = Field("fluxport", description="client id of this service's session at the broker")
    type: PointsType = Field("application/json", description="type of messages without a Content Type")
    dead_letter: str = Field(
        "fluxport/dead",
        min_length=1,
        description="topic above those of messages that can never be stored, which are retained there",
    )


class SeriesConfig(Section):
    path: Path | None = Field(None, description="file of the embedded sensor store; created if it does not exist")
    connection: str | None = Field(None, description="instead of a file: the connection whose table holds the points")
    remote: RemoteSeriesConfig = RemoteSeriesConfig()
    keep_s: Seconds | None = Field(None, description="retention of points; default: forever")
    sensors_max: int = Field(100_000, gt=0, description="sensors that the embedded store may hold")
    exports_max: int = Field(64, gt=0, description="concurrent exports of the embedded store; more get 429")
    body_max_bytes: int = Field(16 << 20, gt=0, description="largest request or message of points")
    open: Annotated[Literal["local", "on", "off"], BeforeValidator(_switch)] = Field(
        "local",
        description="who may read /api/v1 without a key: this machine (in development), everyone (on), no one (off)",
    )
    nats: NatsConfig = NatsConfig()
    mqtt: MqttConfig = MqttConfig()


def listen_address(text: str) -> tuple[str, int]:
    """The host and the port of an address to listen on; ValueError if it is none."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host.strip("[]") or (":" in host and not bracketed) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError(f"{text!r} is not an address; write 0.0.0.0:50051 or [::]:50051")
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"the port of {text!r} is not one of 1 to 65535")
    return host.strip("[]"), int(port)


def _listen_addresses(texts: list[str]) -> list[str]:
    for text in texts:
        listen_address(text)
    return texts


class GrpcConfig(Section):
    enabled: bool = Field(True, description="accept pushed rows over gRPC")
    host: str | None = Field(None, description="address to listen on; default: server.host")
    port: int | None = Field(
        None, ge=0, le=65535, description="port; 0 picks a free one; default: 9090, or a free one if server.port is 0"
    )
    addresses: Annotated[list[str], AfterValidator(_listen_addresses)] = Field(
        [], description="further addresses of the same server, such as 0.0.0.0:50051 or [::]:50051"
    )
    store: str = Field("local", description="store of the files of pushed rows")
    tasks_max: int = Field(10, gt=0, le=100, description="concurrent pushes")
    queue_max: int = Field(100, ge=0, le=10_000, description="pushes that may wait; more get RESOURCE_EXHAUSTED")
    queue_s: Seconds = Field(300.0, description="a push that waits longer fails with QUEUE_TIMEOUT")
    idle_s: Seconds = Field(30.0, description="a push that sends nothing for this long fails")
    message_max_bytes: int = Field(4 << 20, ge=1024, le=64 << 20, description="a larger message ends the call")
    batch_rows_max: int = Field(65_536, gt=0, description="largest number of rows in a batch")
    tls_certificate: Path | None = Field(
        None, description="server certificate chain (PEM); enables TLS and requires it"
    )
    tls_key: Path | None = Field(None, description="private key of the certificate (PEM)")
    tls_required: bool = Field(False, description="refuse to start without a certificate")
    client_ca: Path | None = Field(None, description="clients must present a certificate signed by one of these (PEM)")
    keyless: Networks = Field([], description="networks whose clients need no key and push as the user push")
    answers: Answers = Field(
        "auto",
        description="responses to a push: final is one, at the end, for programs whose proto has returns "
        "(ExportResponse); stream is all of them; auto is one for a client that ends its rows without a pause, at once",
    )
    answers_of: dict[str, Answers] = Field(
        {}, description="the same for some clients, by the name or id of their key or by their network"
    )


class FlightConfig(Section):
    port: int | None = Field(None, ge=0, le=65535, description="port of Arrow Flight; without one it is not served")


# The levels of loggers of Go, in any case.
_LEVELS = {"trace": "debug", "warn": "warning", "fatal": "critical", "panic": "critical", "dpanic": "critical"}


def _level(value: Any) -> Any:
    return _LEVELS.get(value.lower(), value.lower()) if isinstance(value, str) else value


class LoggingConfig(Section):
    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_level)] = Field(
        "info", description="lowest level to log; warn, fatal and trace are read as warning, critical and debug"
    )
    format: Literal["json", "text"] = Field("json", description="one JSON object per line, or plain text")


class TelemetryConfig(Section):
    traces: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = Field(
        "auto",
        description="send OpenTelemetry traces, which need fluxport[otel]; auto: if OTEL_TRACES_EXPORTER, "
        "OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set",
    )


def _default_stores() -> dict[str, SinkOptions]:
    return {"local": LocalOptions()}


class Config(Section):
    app_env: Literal["development", "production"] = Field(
        "development", description="production refuses missing or weak secrets"
    )
    database: Annotated[str, AfterValidator(_database), PlainSerializer(_without_password)] = Field(
        "sqlite:///fluxport.db",
        repr=False,
        description="the service's own database: a file on this machine, or postgresql://... for several machines; "
        "memory loses everything on restart",
    )
    server: ServerConfig = ServerConfig()
    connections: dict[str, ConnectionConfig] = {}
    datasets: Annotated[dict[str, Any], AfterValidator(_datasets)] = Field(
        {}, description="queries declared for export, by name: columns, filters, row ownership"
    )
    sample: Literal["journal"] | None = Field(
        None, description="journal: add the trading journal's datasets, on a connection of that name"
    )
    stores: dict[str, SinkConfig] = Field(default_factory=_default_stores)
    schedules: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")], ScheduleConfig] = {}
    limits: LimitsConfig = LimitsConfig()
    auth: AuthConfig = AuthConfig()
    compression: Annotated[str, BeforeValidator(_gzip), AfterValidator(_compression)] = Field(
        ExportSpec.compression,
        description="compression of FluxQuery's exports, which cannot choose one: "
        + ", ".join(COMPRESSIONS.built_in)
        + "; true is gzip, false none",
    )
    fluxquery: FluxQueryConfig = Field(FluxQueryConfig(), description="the API of FluxQuery's clients")
    export_queue: ExportQueueConfig = Field(ExportQueueConfig(), description="the API of the Export queue's clients")
    series: SeriesConfig = Field(SeriesConfig(), description="sensors")
    email: EmailConfig = Field(EmailConfig(), description="mail")
    webhooks: WebhooksConfig = Field(WebhooksConfig(), description="webhooks")
    grpc: GrpcConfig = Field(GrpcConfig(), description="gRPC for pushed rows")
    flight: FlightConfig = Field(FlightConfig(), description="Arrow Flight, with the keys, TLS and limits of grpc")
    logging: LoggingConfig = LoggingConfig()
    telemetry: TelemetryConfig = Field(TelemetryConfig(), description="traces")


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    report: Callable[[str], None] = log.warning,
) -> Config:
    """The effective configuration; Refused with every problem of every source, one per line.

    ``path`` is the YAML file (default: ``fluxport.yaml`` in ``folder`` if it exists). ``flags`` maps dotted names to
    values of the command line and overrides everything else. ``report`` is called with one sentence about everything
    that is ignored, if anything is.
    """
    gathered = gather(path, os.environ if environ is None else environ, flags or {}, folder or Path())
    config = _valid(gathered)
    if ignored := [*gathered.ignored, *_foreign(gathered.stores_in_file, config)]:
        report(f"{'; '.join(ignored)}.")
    return config


def _valid(gathered: Gathered) -> Config:
    """The configuration of these settings; Refused with every problem."""
    problems = [*gathered.problems, *_invalid(gathered)]
    for where in gathered.partial:
        del gathered.get(*where[:-1])[where[-1]]
    problems += _contradictions(gathered) + _unsafe_in_production(gathered.values)
    if problems:
        raise together(problems)
    return Config.model_validate(gathered.values)


def _invalid(gathered: Gathered) -> list[Refused]:
    """What is wrong with single settings, without their values."""

    def origin(where: Sequence[str]) -> str:
        """The old name that has set this setting, the setting of which it is an entry, or its type."""
        parts = [*(tuple(where[:end]) for end in range(len(where), 0, -1)), (*where, "type")]
        return next((gathered.origins[part] for part in parts if part in gathered.origins), "")

    def expected(error: Any) -> bool:
        return error["type"] == "missing" and (gathered.incomplete or error["loc"][:-1] in gathered.partial)

    try:
        Config.model_validate(gathered.values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return [
            Refused(
                sentence(one, lambda where: _names(where, gathered.values), origin=origin), code="bad_configuration"
            )
            for one in found
            if not expected(one)
        ]
    return []


def _names(where: Sequence[str], values: Mapping[str, Any]) -> Sequence[str]:
    """The names of the settings at a place of the configuration."""
    model: Any = Config
    given: Any = values
    for part in where:
        given = given.get(part) if isinstance(given, Mapping) else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            model = get_args(model)[-1]  # of a mapping, whose keys are names
        elif part not in model.model_fields:
            return ()
        else:
            model = model.model_fields[part].annotation
        if isinstance(kind := (getattr(model, "__metadata__", None) or (None,))[0], ByType):
            model = kind.load(given.get("type", kind.default) if isinstance(given, Mapping) else kind.default)
    if dataclasses.is_dataclass(model):
        return [field.name for field in dataclasses.fields(model)]
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else ()


def _foreign(stores_in_file: Any, config: Config) -> Iterator[str]:
    """A sentence about each setting in the file that its store's type does not have."""
    for name, given in stores_in_file.items() if isinstance(stores_in_file, dict) else ():
        if isinstance(given, dict) and name in config.stores:
            kind = config.stores[name].type
            for key in sorted(SINK.foreign({**given, "type": kind})):
                yield f"stores.{name}.{key} is ignored: a store of type {kind} has no such setting"


def _contradictions(gathered: Gathered) -> list[Refused]:
    """What is wrong between settings, whether or not others are valid."""
    if gathered.incomplete:
        return []  # what is missing may be in the source that could not be read
    connections, stores = (_keys(gathered.get(section)) for section in ("connections", "stores"))
    connection, path = (gathered.get("series", key) for key in ("connection", "path"))
    problems = list(_unserved(gathered, connections))
    if connection is not None and (str(connection) not in connections or path is not None):
        problems.append("Setting 'series.connection' must name a configured connection, and excludes 'series.path'.")
    if path is not None and "series" in connections:
        problems.append("The connection name 'series' is reserved for the sensor store; rename the connection.")
    if path is None and any(gathered.get("series", broker, "url") for broker in ("nats", "mqtt")):
        problems.append("Points from NATS and MQTT need the embedded sensor store: set series.path.")
    store = gathered.get("grpc", "store") or GrpcConfig().store
    if isinstance(store, str) and store not in stores | {"local"}:
        problems.append(f"Setting 'grpc.store' names {store!r}; the stores are: {', '.join(sorted(stores))}.")
    return [Refused(problem, code="bad_configuration") for problem in problems]


def _keys(section: Any) -> set[str]:
    return {str(name) for name in section} if isinstance(section, Mapping) else set()


def _unserved(gathered: Gathered, connections: set[str]) -> Iterator[str]:
    """A sentence about each dataset that its connection cannot serve."""
    for dataset in _declared(gathered):
        read = dataset.connection
        if read not in connections:
            yield f"Dataset {dataset.name!r} reads the connection {read!r}, which is not configured."
            continue
        try:
            dialect = dialect_of(str(gathered.get("connections", read, "url")))
        except Refused:
            continue  # told of the connection itself
        if not dataset.serves(dialect):
            yield (
                f"Dataset {dataset.name!r} has SQL for {', '.join(sorted(dataset.dialects))}, but its "
                f"connection {read!r} needs {dialect}."
            )


def _declared(gathered: Gathered) -> list[Dataset]:
    """The datasets; none if one is invalid by itself."""
    sample = {}
    if gathered.get("sample") == "journal":
        from fluxport.samples import datasets as sample_datasets

        sample = sample_datasets()
    try:
        declared = parse_datasets(sample | (gathered.get("datasets") or {}))
    except (Refused, TypeError):
        return []
    return list(declared.values())


def _unsafe_in_production(values: Mapping[str, Any]) -> list[Refused]:
    """What production refuses of these settings; nothing for a section ``auth`` that is invalid by itself."""
    from fluxport.auth.secrets import weakness

    if values.get("app_env") != "production":
        return []
    try:
        auth = AuthConfig.model_validate(values.get("auth") or {})
    except ValidationError:
        return []
    problems = []
    secrets = [("API_SECRET", auth.api_secret), ("auth.download_secret", auth.download_secret)]
    secrets += [(f"auth.keys.{name}", s) for name, key in auth.keys.items() for s in key.secrets]
    if auth.api_secret is None and not auth.keys:
        problems.append(
            Refused(
                "APP_ENV=production needs a secret: run `fluxport secret` and set API_SECRET to what it prints.",
                code="no_secret",
            )
        )
    for name, secret in secrets:
        if secret is not None and (why := weakness(secret.get_secret_value())):
            problems.append(
                Refused(
                    f"{name} is too weak for production: it {why}. Run `fluxport secret` for another.",
                    code="weak_secret",
                )
            )
    if auth.development_user:
        problems.append(
            Refused(
                "Setting 'auth.development_user' accepts callers without a key; turn it off in production.",
                code="bad_configuration",
            )
        )
    if auth.download_secret is not None and auth.download_secret in [
        s for n, s in secrets if n != "auth.download_secret"
    ]:
        problems.append(
            Refused(
                "Setting 'auth.download_secret' must not be one of the API secrets; run `fluxport secret` for another.",
                code="weak_secret",
            )
        )
    return problems


def shown(config: Config) -> dict[str, Any]:
    """The settings as plain values, secrets masked."""
    values: dict[str, Any] = config.model_dump(mode="json")
    return values


def schema() -> dict[str, Any]:
    return Config.model_json_schema()
