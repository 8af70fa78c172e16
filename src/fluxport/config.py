"""Configuration, read once: ``fluxport.yaml``, then ``.env``, then the environment, then flags.

Environment names are ``FLUXPORT_SECTION__KEY``; the names that the replaced services used still work (ALIASES). An
unknown key is an error that names the nearest known one. Secrets are masked wherever a configuration is shown.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
)

from fluxport import sinks
from fluxport.auth.proxies import networks
from fluxport.auth.scopes import read_scopes
from fluxport.datasets import parse_datasets
from fluxport.delivery.recipients import is_domain
from fluxport.errors import Refused
from fluxport.formats.compress import COMPRESSIONS, canonical
from fluxport.middleware_config import is_middleware, translated
from fluxport.settings import ByType, Duration, WebAddress, refused
from fluxport.sinks.local import LocalOptions
from fluxport.sinks.options import SinkOptions
from fluxport.sources import QUERIES_MAX, SOURCES, SourceOptions
from fluxport.spec import ExportSpec
from fluxport.stages import Limits

log = logging.getLogger("fluxport.config")

DEVELOPMENT_SECRET = "devsecret"  # noqa: S105  public by design, refused in production


def _database(value: str) -> str:
    if value != "memory" and not re.fullmatch(r"sqlite:///.+|postgres(ql)?://.+", value):
        raise ValueError("the database is sqlite:///FILE, postgresql://user:password@host/name or memory")
    return value


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


def _scopes(words: list[str]) -> list[str]:
    try:
        return sorted(read_scopes(words))
    except Refused as error:
        raise ValueError(error.message) from None


def _networks(words: list[str]) -> list[str]:
    networks(words)
    return words


def _mail_domains(words: list[str] | None) -> list[str] | None:
    for word in words or []:
        if not is_domain(word):
            raise ValueError(f"{word!r} is no domain; one is like example.com or *.example.com")
    return words


MailDomains = Annotated[list[str] | None, AfterValidator(_mail_domains)]


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
            raise ValueError(f"the address of a broker is like {schemes[0]}://user:password@host or {schemes[1]}://...")
        return value

    return AfterValidator(checked_url)


Seconds = Annotated[Duration, Field(gt=0)]
SINK = ByType("a store", "local", sinks.SINKS, sinks.options_class)
SinkConfig = Annotated[SinkOptions, SINK]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class SpoolConfig(Section):
    path: Path | None = Field(
        None, description="the folder of its file, which has no name there; default: that of temporary files"
    )
    bytes_max: int = Field(1 << 30, gt=0, description="what it holds of one answer")
    all_bytes_max: int = Field(4 << 30, ge=0, description="what it holds of all answers; 0 switches it off")
    least_bytes_s: int = Field(
        64 << 10, ge=0, description="once it is full, a client that takes less while others wait is cut off"
    )


class ServerConfig(Section):
    host: str = Field("127.0.0.1", description="the address to listen on; 0.0.0.0 or :: for every one")
    port: int = Field(8080, ge=0, le=65535, description="0 takes a free one")
    public_url: WebAddress = Field(None, description="what links start with; default: the address of the request")
    send_timeout_s: Seconds = Field(30.0, description="a client that takes next to nothing for so long is cut off")
    body_max_bytes: int = Field(1 << 20, gt=0, description="a larger request is refused while it is read")
    grace_s: Seconds = Field(10.0, description="what running exports get to finish on shutdown")
    header_timeout_s: Seconds = Field(
        10.0, description="what the head of a request may take, and its body may pause; then its connection is closed"
    )
    connections_per_address: int = Field(
        512, gt=0, description="connections of one address at once, those of trusted proxies aside; more are closed"
    )
    spool: SpoolConfig = SpoolConfig()
    metrics: Annotated[Literal["local", "on", "off"], BeforeValidator(_switch)] = Field(
        "local", description="who may read /metrics: this machine, everybody, nobody"
    )
    details: Annotated[Literal["auto", "local", "on", "off"], BeforeValidator(_switch)] = Field(
        "auto",
        description="who may read /docs, /openapi.json, /api/health, the names in /health/ready, and gRPC's reflection "
        "(with on alone): this machine, everybody, nobody; auto is on in development and local in production",
    )
    trusted_proxies: Annotated[list[str], AfterValidator(_networks)] = Field(
        [],
        description="networks of the proxies that say where a request came from; default: none, and the address is the "
        "connection's",
    )
    proxy_header: Literal["x-forwarded-for", "forwarded"] = Field(
        "x-forwarded-for", description="the header in which trusted proxies say it; the other one is not read"
    )


class ConnectionConfig(Section):
    url: SecretStr = Field(
        description=f"{' or '.join(entry.example for entry in SOURCES.built_in.values())}, or for MySQL the Go form "
        "user:password@tcp(host:3306)/database"
    )
    tinyint1_bool: bool = Field(SourceOptions.tinyint1_bool, description="read TINYINT(1) as true and false")
    connect_timeout_s: Seconds | None = Field(None, description="for connecting and login; default: 10 s, SQLite 5 s")
    read_timeout_s: Seconds | None = Field(
        None, description="how long the database may send nothing; default: 300 s, SQLite no limit"
    )
    queries_max: int = Field(QUERIES_MAX, gt=0, description="queries at once on this connection")
    schemas: list[str] | None = Field(None, description="databases that queries may name; default: any but system ones")
    tables: list[str] | None = Field(None, description="tables that queries may read, as database.table; default: any")
    functions: list[str] = Field([], description="functions that queries may call beside the built-in list")


class LimitsConfig(Section):
    rows_max: int | None = Field(None, gt=0, description="an export with more rows fails; default: no limit")
    bytes_max: int | None = Field(None, gt=0, description="a larger file fails; default: no limit")
    cell_bytes_max: int = Field(Limits.cell_bytes_max, gt=0, description="an export with a larger cell fails")
    export_s: Seconds = Field(900.0, description="longest time of one export")
    active_max: int = Field(5, gt=0, description="exports that one caller may have waiting and running")
    workers: int = Field(10, gt=0, le=64, description="stored exports that one worker carries at once")
    queue_max: int = Field(100, gt=0, description="stored exports that may wait; more are answered 503")
    connection_wait_s: Seconds = Field(60.0, description="how long an export waits for its turn on a connection")
    keep_s: Seconds = Field(7 * 86400.0, description="how long a stored file is kept")
    history_s: Seconds = Field(90 * 86400.0, description="how long an export that has ended can be looked at")
    audit_s: Seconds = Field(400 * 86400.0, description="how long a line of the audit is kept")
    requests_per_minute: int = Field(600, gt=0, description="requests of one key or user; more are answered 429")


class KeyConfig(Section):
    secrets: list[SecretStr] = Field(min_length=1, max_length=2, description="two while one replaces the other")
    user: str | None = Field(
        None, min_length=1, max_length=128, description="whose exports they are; default: the key's own"
    )
    scopes: Annotated[list[str], AfterValidator(_scopes)] | None = Field(
        None, description="what it may do, such as sql:main or dataset:*; default: everything"
    )
    own_results: bool = Field(
        False, description="it sees the exports that it made itself alone; default: all of its user's within its scopes"
    )
    mail_domains: MailDomains = Field(None, description="domains its mails may go to; default: email.domains")


class AuthConfig(Section):
    api_secret: SecretStr | None = Field(None, description="secret of the key 'default'; development: devsecret")
    download_secret: SecretStr | None = Field(None, description="signs download links; default: one of its own")
    keys: dict[str, KeyConfig] = {}
    link_s: Seconds = Field(3600.0, description="how long a download link works")
    development_user: bool = Field(
        False, description="in development: who calls /api/exports from this machine without a key is the user dev"
    )


class ExportQueueConfig(Section):
    enabled: bool = Field(True, description="answer at /api/exports, the door of the Export queue's clients")
    persist: bool = Field(True, description="off: as database: memory, exports are forgotten when the service ends")


class EmailConfig(Section):
    host: str = Field("", description="the mail server; without one, mails are only logged")
    port: int = Field(587, ge=1, le=65535, description="its port")
    user: str = Field("", description="the account that sends")
    password: SecretStr = Field(SecretStr(""), description="its password")
    sender: str = Field("", description="who mails come from: exports@example.com; default: the user")
    security: Literal["auto", "starttls", "tls", "none"] = Field("auto", description="how the connection is encrypted")
    domains: MailDomains = Field(
        None, description="domains that mails may go to, such as example.com or *.example.com; default: any"
    )
    attach: bool = Field(True, description="attach files that are small enough, else send a link")
    attachment_max_bytes: int = Field(10 << 20, ge=0, le=25 << 20, description="the largest mail with an attachment")


class WebhooksConfig(Section):
    secrets: list[SecretStr] = Field([], max_length=2, description="what signs webhooks; two during a change")
    allow: list[str] = Field([], description="hosts and networks that may be reached although they are not public")
    http_allowed: bool = Field(False, description="whether http targets are allowed beside https")


def _cron(value: str) -> str:
    from fluxport.jobs.schedule import is_cron

    if not is_cron(value):
        raise ValueError("a cron expression has five fields, minute hour day month weekday, such as 0 6 * * 1-5")
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
    timezone: Annotated[str, AfterValidator(_zone)] = Field("UTC", description="the zone in which cron is read")
    user: str = Field(min_length=1, max_length=128, description="whose exports they are")
    missed: Literal["tell", "run"] = Field(
        "tell",
        description="of runs that could not begin for more than a minute: tell, or tell and run once for all of them",
    )
    export: Annotated[dict[str, Any], AfterValidator(_export_body)] = Field(
        description="what is exported: the body of POST /v1/exports"
    )


class RemoteSeriesConfig(Section):
    table: str = Field("points", description="of series.connection: the table or view of points")
    sensor: str = Field("sensor_id", description="its column that names the sensor")
    time: str = Field("timestamp_ms", description="its column of milliseconds since 1970")
    value: str = Field("value", description="its column of numbers")
    quality: str = Field("quality", description="its column of 0 (bad) and 1 (good); empty if it has none")
    sensors_table: str = Field("", description="a table with a row per sensor and its column of the same name")
    name: str = Field("", description="the column there with the sensor's name; empty if it has none")
    unit: str = Field("", description="the column there with its unit; empty if it has none")


class NatsConfig(Section):
    url: Annotated[SecretStr | None, _broker("nats", "tls", "ws", "wss")] = Field(
        None, description="nats://user:password@host:4222; without one, nothing is read"
    )
    stream: str = Field("SENSORS", description="the JetStream stream that holds the messages")
    subject: str = Field("sensors.>", description="the subjects that are read; a stream that is not there is made")
    durable: str = Field("fluxport", description="the name of the durable consumer; services that share it share work")


class MqttConfig(Section):
    url: Annotated[SecretStr | None, _broker("mqtt", "mqtts")] = Field(
        None, description="mqtt://user:password@host:1883 or mqtts://...; without one, off"
    )
    topic: str = Field("sensors/#", description="the topics that are read")
    client_id: str = Field("fluxport", description="the session that the broker keeps for this service")


class SeriesConfig(Section):
    path: Path | None = Field(None, description="the file of the embedded sensor store; made if it is not there")
    connection: str | None = Field(None, description="instead of a file: the connection whose table holds the points")
    remote: RemoteSeriesConfig = RemoteSeriesConfig()
    keep_s: Seconds | None = Field(None, description="how long points are kept; default: for ever")
    sensors_max: int = Field(100_000, gt=0, description="sensors that the embedded store may hold")
    exports_max: int = Field(64, gt=0, description="exports of the embedded store at once; more are answered 429")
    body_max_bytes: int = Field(16 << 20, gt=0, description="the largest request or message of points")
    open: Annotated[Literal["local", "on", "off"], BeforeValidator(_switch)] = Field(
        "local",
        description="who may read /api/v1 without a key: in development this machine, everybody, nobody",
    )
    nats: NatsConfig = NatsConfig()
    mqtt: MqttConfig = MqttConfig()


class GrpcConfig(Section):
    enabled: bool = Field(True, description="whether programs can push rows over gRPC")
    host: str | None = Field(None, description="the address to listen on; default: server.host")
    port: int | None = Field(
        None, ge=0, le=65535, description="default: 9090, or a free one where server.port is 0; 0 takes a free one"
    )
    store: str = Field("local", description="where files of pushed rows rest")
    tasks_max: int = Field(10, gt=0, le=100, description="pushes at once")
    queue_max: int = Field(100, ge=0, le=10_000, description="pushes that may wait; more are RESOURCE_EXHAUSTED")
    queue_s: Seconds = Field(300.0, description="a push that waits longer fails with QUEUE_TIMEOUT")
    idle_s: Seconds = Field(30.0, description="a push that sends nothing for so long fails")
    message_max_bytes: int = Field(4 << 20, ge=1024, le=64 << 20, description="a larger message ends the call")
    batch_rows_max: int = Field(65_536, gt=0, description="rows that one batch may have")
    tls_certificate: Path | None = Field(None, description="the server's certificate chain (PEM); with it only TLS")
    tls_key: Path | None = Field(None, description="the certificate's private key (PEM)")
    tls_required: bool = Field(False, description="refuse to start without a certificate")
    client_ca: Path | None = Field(None, description="clients must show a certificate that one of these has signed")
    keyless: Annotated[list[str], AfterValidator(_networks)] = Field(
        [], description="networks whose programs need no key and push as the user push"
    )
    one_answer_keys: list[str] = Field(
        [], description="names or ids of keys whose programs take one answer only, at the end"
    )


class FlightConfig(Section):
    port: int | None = Field(None, ge=0, le=65535, description="the port of Arrow Flight; without one it is not served")


class LoggingConfig(Section):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="what is logged at least")
    format: Literal["json", "text"] = Field("json", description="one JSON object per line, or words")


def _default_stores() -> dict[str, SinkOptions]:
    return {"local": LocalOptions()}


class Config(Section):
    app_env: Literal["development", "production"] = Field(
        "development", description="production refuses missing and weak secrets"
    )
    database: Annotated[str, AfterValidator(_database), PlainSerializer(_without_password)] = Field(
        "sqlite:///fluxport.db",
        repr=False,
        description="what must outlive a restart: a file of this machine, or postgresql://... for several machines; "
        "memory keeps nothing",
    )
    server: ServerConfig = ServerConfig()
    connections: dict[str, ConnectionConfig] = {}
    datasets: Annotated[dict[str, Any], AfterValidator(_datasets)] = Field(
        {}, description="queries declared for export, by name: columns, filters, whose rows"
    )
    sample: Literal["journal"] | None = Field(
        None, description="journal: the trading journal's datasets too, on a connection of that name"
    )
    stores: dict[str, SinkConfig] = Field(default_factory=_default_stores)
    schedules: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")], ScheduleConfig] = {}
    limits: LimitsConfig = LimitsConfig()
    auth: AuthConfig = AuthConfig()
    compression: Annotated[str, AfterValidator(_compression)] = Field(
        ExportSpec.compression,
        description="of FluxQuery's exports, which name none: " + ", ".join(COMPRESSIONS.built_in),
    )
    export_queue: ExportQueueConfig = Field(ExportQueueConfig(), description="the door of the Export queue's clients")
    series: SeriesConfig = Field(SeriesConfig(), description="sensors")
    email: EmailConfig = Field(EmailConfig(), description="mail")
    webhooks: WebhooksConfig = Field(WebhooksConfig(), description="webhooks")
    grpc: GrpcConfig = Field(GrpcConfig(), description="the door for pushed rows")
    flight: FlightConfig = Field(FlightConfig(), description="Arrow Flight, with the keys, TLS and limits of grpc")
    logging: LoggingConfig = LoggingConfig()


# The names that FluxQuery's deployments set, and where they live now.
ALIASES: dict[str, tuple[str, ...]] = {
    "APP_ENV": ("app_env",),
    "FLUXPORT_DATABASE": ("database",),
    "SERVER_PORT": ("server", "port"),
    "MYSQL_DSN": ("connections", "main", "url"),
    "LOCAL_STORAGE_PATH": ("stores", "local", "path"),
    "STORAGE_TYPE": ("stores", "local", "type"),
    "API_SECRET": ("auth", "api_secret"),
    "COMPRESSION": ("compression",),
    "WORKER_COUNT": ("limits", "workers"),
    "MAX_DB_CONCURRENCY": ("connections", "main", "queries_max"),
    "DEFAULT_TIMEOUT": ("limits", "export_s"),
    "LOG_LEVEL": ("logging", "level"),
    "SMTP_HOST": ("email", "host"),
    "SMTP_PORT": ("email", "port"),
    "SMTP_USER": ("email", "user"),
    "SMTP_PASS": ("email", "password"),
    "SMTP_FROM": ("email", "sender"),
    "EMAIL_ATTACH_FILE": ("email", "attach"),
    "ENABLE_EXPORT_QUEUE": ("export_queue", "enabled"),
    "ENABLE_PERSIST_EXPORT": ("export_queue", "persist"),
}
_WORDS = frozenset({"LOG_LEVEL", "APP_ENV", "STORAGE_TYPE"})  # written in any case
_PREFIX = "FLUXPORT_"


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Config:
    """The effective configuration; Refused with every problem found, one per line.

    ``path`` is the YAML file (default: ``fluxport.yaml`` in ``folder`` if it is there), ``flags`` maps dotted names to
    values of the command line and wins over everything.
    """
    environ = os.environ if environ is None else environ
    folder = folder or Path()
    below: dict[str, str] = {}
    if (dotenv := folder / ".env").exists():
        from dotenv import dotenv_values

        below = {k: v for k, v in dotenv_values(dotenv).items() if v is not None}
    usual = folder / "fluxport.yaml"
    merged = _yaml(path or (usual if usual.exists() else None), below | dict(environ))
    written = copy.deepcopy(merged.get("stores"))
    kind = _store_type(below | dict(environ))
    _merge(merged, _from_environment(below, kind))
    _merge(merged, _from_environment(environ, kind))
    for name, value in (flags or {}).items():
        if value is not None:
            _put(merged, tuple(name.split(".")), value)
    if isinstance(merged.get("stores"), dict):
        merged["stores"].setdefault("local", {})
    config = checked(merged)
    _warn_of_foreign(written, config)
    if config.app_env == "production":
        _check_production(config)
    return config


def checked(values: Mapping[str, Any]) -> Config:
    """The configuration of these values; Refused with every problem, one per line, and no value."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise refused(error, lambda where: _names(where, values)) from None


def _names(where: Sequence[str], values: Mapping[str, Any]) -> Sequence[str]:
    """The settings that exist at a place of the configuration."""
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


def _yaml(path: Path | None, environ: Mapping[str, str]) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise Refused(f"The configuration {path} cannot be read: {reason}.", code="bad_configuration") from None
    found = _read_yaml(text, f"The configuration {path}")
    if not isinstance(found, dict | None):
        raise Refused(f"The configuration {path} must be a mapping of sections.", code="bad_configuration")
    if found and is_middleware(found):
        found, told = translated(found, environ)
        if told:
            log.warning("%s is of the export middleware; without meaning here: %s.", path, "; ".join(told))
    return found or {}


def _warn_of_foreign(written: Any, config: Config) -> None:
    """Tell of settings that the file has for a store whose type has none of that name."""
    for name, given in written.items() if isinstance(written, dict) else ():
        if isinstance(given, dict) and name in config.stores:
            kind = config.stores[name].type
            for key in sorted(SINK.foreign({**given, "type": kind})):
                log.warning("stores.%s.%s means nothing to a store of type %s.", name, key, kind)


def _store_type(environ: Mapping[str, str]) -> str:
    """The default store's type; the Export middleware knew one type alone, and so no name for it."""
    return environ.get("STORAGE_TYPE", "").lower() or ("oss" if environ.get("OSS_BUCKET") else "local")


def _from_environment(environ: Mapping[str, str], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, where in ALIASES.items():
        if environ.get(name):
            _put(
                found,
                where,
                environ[name].lower() if name in _WORDS else environ[name],
            )
    for name, key in sink_environment(kind).items():
        if environ.get(name):
            _put(found, ("stores", "local", "type"), kind)
            _put(found, ("stores", "local", key), environ[name])
    for name, value in sorted(environ.items()):
        if name.startswith(_PREFIX) and "__" in name:
            _put(
                found, tuple(part.lower() for part in name.removeprefix(_PREFIX).split("__")), _structured(name, value)
            )
    return found


def sink_environment(kind: str) -> Mapping[str, str]:
    """The names that configure the default store if it is of this type: AWS_REGION is set on machines that keep their
    files elsewhere, too."""
    return sinks.options_class(kind).environ if kind in sinks.SINKS else {}


def _structured(name: str, value: str) -> Any:
    """Lists and mappings may be given as YAML flow text; everything else stays text for the model to read."""
    return _read_yaml(value, f"The environment's {name}") if value[:1] in ("[", "{") else value


def _read_yaml(text: str, name: str) -> Any:
    """What YAML says; Refused with the place, not with the parser's words: they quote what stands there."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        raise Refused(f"{name} is not valid YAML{place}.", code="bad_configuration") from None


def _put(target: dict[str, Any], where: tuple[str, ...], value: Any) -> None:
    for part in where[:-1]:
        below = target.setdefault(part, {})
        if not isinstance(below, dict):
            raise Refused(f"Setting {'.'.join(where)!r}: {part!r} is not a section.", code="bad_configuration")
        target = below
    target[where[-1]] = value


def _merge(target: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


def _check_production(config: Config) -> None:
    from fluxport.auth.secrets import weakness

    secrets = [("API_SECRET", config.auth.api_secret), ("auth.download_secret", config.auth.download_secret)]
    secrets += [(f"auth.keys.{name}", s) for name, key in config.auth.keys.items() for s in key.secrets]
    if config.auth.api_secret is None and not config.auth.keys:
        raise Refused(
            "APP_ENV=production needs a secret: run `fluxport secret` and set API_SECRET to what it prints.",
            code="no_secret",
        )
    for name, secret in secrets:
        if secret is not None and (why := weakness(secret.get_secret_value())):
            raise Refused(
                f"{name} is too weak for production: it {why}. Run `fluxport secret` for another.", code="weak_secret"
            )
    if config.auth.development_user:
        raise Refused(
            "Setting 'auth.development_user' lets callers in without a key; it must be off in production.",
            code="bad_configuration",
        )
    download = config.auth.download_secret
    if download is not None and download in [s for n, s in secrets if n != "auth.download_secret"]:
        raise Refused(
            "Setting 'auth.download_secret' must not be one of the API secrets; run `fluxport secret` for another.",
            code="weak_secret",
        )


def shown(config: Config) -> dict[str, Any]:
    """The settings as plain values, secrets masked."""
    found: dict[str, Any] = config.model_dump(mode="json")
    return found


def schema() -> dict[str, Any]:
    return Config.model_json_schema()
