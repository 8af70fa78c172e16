"""Reads the export middleware's YAML file unchanged: translates its keys into our settings and lists ignored ones."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from fluxport.errors import Refused

# Sections that only the middleware's files have.
MARKS = frozenset({"concurrency", "performance", "storage", "oss", "security", "monitoring"})
_KEYS: dict[str, tuple[str, ...]] = {
    "server.port": ("grpc", "port"),
    "server.timeout": ("grpc", "idle_s"),
    "concurrency.max_concurrent_tasks": ("grpc", "tasks_max"),
    "concurrency.task_queue_size": ("grpc", "queue_max"),
    "concurrency.queue_timeout": ("grpc", "queue_s"),
    "performance.max_batch_size": ("grpc", "batch_rows_max"),
    "oss.endpoint": ("stores", "local", "endpoint"),
    "oss.bucket": ("stores", "local", "bucket"),
    "oss.access_key_id": ("stores", "local", "access_key_id"),
    "oss.access_key_secret": ("stores", "local", "secret_access_key"),
    "oss.part_size": ("stores", "local", "part_bytes"),
    "oss.parallel_parts": ("stores", "local", "parts_at_once"),
    "oss.signed_url_expiry": ("stores", "local", "link_s"),
    "logging.level": ("logging", "level"),
    "logging.format": ("logging", "format"),
    "monitoring.metrics_port": ("server", "port"),
}
# Keys that are ignored, and why; reported in one warning.
_IGNORED = {
    "server.max_connections": "calls are bounded, by grpc.tasks_max and grpc.queue_max",
    "performance.buffer_size": "nothing is buffered",
    "storage.temp_directory": "there are no temporary files",
    "storage.temp_retention": "there are no temporary files",
    "oss.max_retries": "a store is tried stores.local.tries_max times",
    "oss.upload_timeout": "an export may take limits.export_s",
    "logging.output": "logs go to standard error",
}
_FORMATS = {"json": "json", "text": "text", "console": "text"}


def is_middleware(content: Mapping[str, Any]) -> bool:
    return bool(MARKS & set(content))


def translated(content: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Our settings, and a sentence for each ignored key; Refused for a key that the middleware did not have. Variables
    of ``environ`` override keys of ``oss``, as in the middleware."""
    settings: dict[str, Any] = {"grpc": {"host": "0.0.0.0"}}  # noqa: S104  where the middleware listened
    ignored: list[str] = []
    security: dict[str, Any] = {}
    for name, value in _flat(_with_environment(content, environ)):
        if name.startswith("security."):
            security[name.removeprefix("security.")] = value
        elif name in _IGNORED:
            ignored.append(f"{name}: {_IGNORED[name]}")
        elif name in _KEYS:
            if value not in (None, ""):
                _put(settings, _KEYS[name], _read(name, value))
        else:
            raise Refused(f"Unknown setting {name!r} in a file of the export middleware.", code="bad_configuration")
    if "local" in settings.get("stores", {}):
        settings["stores"]["local"]["type"] = "oss"
    ignored += _secured(settings, security)
    return settings, ignored


def _with_environment(content: Mapping[str, Any], environ: Mapping[str, str]) -> Mapping[str, Any]:
    names = ("endpoint", "bucket", "access_key_id", "access_key_secret")
    set_there = {name: environ[f"OSS_{name.upper()}"] for name in names if environ.get(f"OSS_{name.upper()}")}
    oss = content.get("oss") or {}
    return {**content, "oss": {**oss, **set_there}} if set_there and isinstance(oss, Mapping) else content


def _read(name: str, value: Any) -> Any:
    if name == "logging.level":
        return {"warn": "warning"}.get(str(value).lower(), str(value).lower())
    if name == "logging.format":
        return _FORMATS.get(str(value).lower(), value)
    if name == "oss.endpoint" and "://" not in str(value):
        return f"https://{value}"
    return value


def _secured(settings: dict[str, Any], security: Mapping[str, Any]) -> list[str]:
    known = {"auth_enabled", "tls_enabled", "allowed_clients"}
    if unknown := sorted(set(security) - known):
        raise Refused(
            f"Unknown setting 'security.{unknown[0]}' in a file of the export middleware.", code="bad_configuration"
        )
    if security.get("tls_enabled"):
        settings["grpc"]["tls_required"] = True
    clients = [str(client) for client in security.get("allowed_clients") or []]
    networks = [client for client in clients if _is_network(client)]
    ignored = []
    if security.get("auth_enabled"):
        if clients:
            ignored.append("security.allowed_clients: any client with a key of the scope push may call, from anywhere")
    elif networks:
        settings["grpc"]["keyless"] = networks
    else:
        ignored.append(
            "security.auth_enabled: clients need a key with the scope push, except in the networks of grpc.keyless"
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


def _flat(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for section, keys in content.items():
        if not isinstance(keys, Mapping | None):
            raise Refused(f"Setting {section!r} must be a section.", code="bad_configuration")
        pairs += [(f"{section}.{key}", value) for key, value in (keys or {}).items()]
    return pairs


def _put(target: dict[str, Any], where: tuple[str, ...], value: Any) -> None:
    for part in where[:-1]:
        target = target.setdefault(part, {})
    target[where[-1]] = value
