"""Reads the export middleware's YAML file unchanged: translates its keys into our settings and lists ignored ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from fluxport import durations

EVERYWHERE = "0.0.0.0"  # noqa: S104  where the replaced services listened
EXPORT_S = 900.0  # the default of limits.export_s
# Sections that only the middleware's files have.
MARKS = frozenset({"concurrency", "performance", "storage", "oss", "security", "monitoring"})
_KEYS: dict[str, tuple[str, ...]] = {
    "server.port": ("grpc", "port"),
    "server.timeout": ("grpc", "idle_s"),
    "concurrency.max_concurrent_tasks": ("grpc", "tasks_max"),
    "concurrency.task_queue_size": ("grpc", "queue_max"),
    "concurrency.queue_timeout": ("grpc", "queue_s"),
    "performance.buffer_size": ("grpc", "message_max_bytes"),
    "oss.endpoint": ("stores", "local", "endpoint"),
    "oss.bucket": ("stores", "local", "bucket"),
    "oss.access_key_id": ("stores", "local", "access_key_id"),
    "oss.access_key_secret": ("stores", "local", "secret_access_key"),
    "oss.part_size": ("stores", "local", "part_bytes"),
    "oss.parallel_parts": ("stores", "local", "parts_at_once"),
    "oss.signed_url_expiry": ("stores", "local", "link_s"),
    "oss.max_retries": ("stores", "local", "tries_max"),
    "oss.upload_timeout": ("limits", "export_s"),
    "logging.level": ("logging", "level"),
    "logging.format": ("logging", "format"),
    "logging.enable_tracing": ("telemetry", "traces"),
    "monitoring.metrics_port": ("server", "port"),
}
# Keys that are ignored, and why; reported in one warning.
_IGNORED = {
    "server.status_port": "the status is queried at server.port by gRPC, and at monitoring.metrics_port by HTTP",
    "server.max_connections": "calls are bounded, by grpc.tasks_max and grpc.queue_max",
    "performance.max_batch_size": "it limited nothing",
    "performance.write_timeout": "a request to the store has stores.local.timeout_s",
    "storage.temp_directory": "there are no temporary files",
    "storage.temp_retention": "there are no temporary files",
    "storage.cleanup_enabled": "there are no temporary files",
    "logging.output": "logs go to standard error",
    "monitoring.health_check_interval": "health is checked when it is asked for",
}
# The longest time of an upload, which here is part of a push that the client may send slowly: it only raises the limit.
_UPLOAD_TIMEOUT = "oss.upload_timeout"
_SECURITY = frozenset({"auth_enabled", "tls_enabled", "allowed_clients"})
# Where programs without credentials are admitted, if the file asks for no authentication.
_PRIVATE = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
_BATCH_ROWS_MAX = 10_000_000  # more than a message of the middleware can hold, which limited only its bytes
_FORMATS = {"json": "json", "text": "text", "console": "text"}


@dataclass
class Translation:
    """``settings`` are ours; ``origins`` has the middleware's key of each. ``ignored`` and ``problems`` are sentences
    about keys without a meaning, and about keys that the middleware did not have."""

    settings: dict[str, Any]
    origins: dict[tuple[str, ...], str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def is_middleware(content: Mapping[str, Any]) -> bool:
    return bool(MARKS & set(content))


def translated(content: Mapping[str, Any]) -> Translation:
    """The settings of a file of the middleware, with what could not be translated."""
    # Its metrics, on a port of their own, were for everyone who reached it.
    grpc = {"host": EVERYWHERE, "answers": "final", "batch_rows_max": _BATCH_ROWS_MAX}
    done = Translation({"grpc": grpc, "server": {"host": EVERYWHERE, "metrics": "on"}})
    security: dict[str, Any] = {}
    for name, value in _flat(content, done.problems):
        section, _, key = name.partition(".")
        if section == "security" and key in _SECURITY:
            security[key] = value
        elif name == _UPLOAD_TIMEOUT and _is_short(value):
            done.ignored.append(f"{name}: an export may take limits.export_s, which is longer")
        elif name in _IGNORED:
            done.ignored.append(f"{name}: {_IGNORED[name]}")
        elif name not in _KEYS:
            done.problems.append(f"Unknown setting {name!r} in a file of the export middleware.")
        elif value not in (None, ""):
            _put(done.settings, _KEYS[name], _read(name, value))
            done.origins[_KEYS[name]] = name
    if "local" in done.settings.get("stores", {}):
        done.settings["stores"]["local"]["type"] = "oss"
    done.ignored += _secured(done.settings, security, done.problems)
    return done


def _read(name: str, value: Any) -> Any:
    if name == "logging.format":
        return _FORMATS.get(str(value).lower(), value)
    if name == "logging.enable_tracing":
        # auto: where OpenTelemetry's variables name a receiver
        return ("auto" if value else "off") if isinstance(value, bool) else value
    if name == "oss.endpoint" and "://" not in str(value):
        return f"https://{value}"
    if name == "oss.max_retries" and isinstance(value, int):
        return value + 1
    return value


def _is_short(value: Any) -> bool:
    """Whether this duration does not exceed the default of limits.export_s; an invalid one is reported as a setting."""
    try:
        seconds = durations.seconds(value) if isinstance(value, str) else value
    except ValueError:
        return False
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds <= EXPORT_S


def _clients(given: Any, problems: list[str]) -> list[str]:
    """The entries of security.allowed_clients; a text is one."""
    if isinstance(given, str):
        return [given] if given else []
    if isinstance(given, list | None):
        return [str(client) for client in given or []]
    problems.append("Setting 'security.allowed_clients' must be a list of networks.")
    return []


def _secured(settings: dict[str, Any], security: Mapping[str, Any], problems: list[str]) -> list[str]:
    if security.get("tls_enabled"):
        settings["grpc"]["tls_required"] = True
    clients = _clients(security.get("allowed_clients"), problems)
    networks = [client for client in clients if _is_network(client)]
    ignored = []
    if security.get("auth_enabled"):
        if clients:
            ignored.append("security.allowed_clients: any client with a key of the scope push may call, from anywhere")
    elif networks:
        settings["grpc"]["keyless"] = networks
    elif not clients:
        settings["grpc"]["keyless"] = list(_PRIVATE)
        ignored.append(
            "security.auth_enabled: only programs in private networks need no key (grpc.keyless), others need one with "
            "the scope push; behind a proxy or NAT that gives every client a private address, set it to true or list "
            "security.allowed_clients"
        )
    if not security.get("auth_enabled") and (others := [client for client in clients if client not in networks]):
        ignored.append(f"security.allowed_clients: {', '.join(others)}: only networks can be listed")
    return ignored


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _flat(content: Mapping[str, Any], problems: list[str]) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for section, keys in content.items():
        if isinstance(keys, Mapping | None):
            pairs += [(f"{section}.{key}", value) for key, value in (keys or {}).items()]
        else:
            problems.append(f"Setting {section!r} must be a section.")
    return pairs


def _put(target: dict[str, Any], where: tuple[str, ...], value: Any) -> None:
    for part in where[:-1]:
        target = target.setdefault(part, {})
    target[where[-1]] = value
