"""Settings that sinks over HTTP share, and those that are object stores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fluxport.settings import Duration, Endpoint, Secret, setting
from fluxport.sinks.options import SinkOptions


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """Of sinks that are reached over HTTP. ``timeout_s`` is for one read or write of at most 256 KiB."""

    ca_file: Path | None = setting(
        None, description="PEM file of the authorities that the store's certificate is by; default: the system's"
    )
    connect_timeout_s: Duration = setting(10.0, gt=0, description="how long a connection may take to open")
    timeout_s: Duration = setting(
        60.0, gt=0, description="a store that takes or sends nothing for so long is tried again"
    )
    tries_max: int = setting(6, ge=1, le=20, description="tries of one request")
    retry_first_s: Duration = setting(0.2, gt=0, description="the wait before the second try; it doubles with each one")
    retry_most_s: Duration = setting(20.0, gt=0, description="the longest wait between two tries")


@dataclass(frozen=True, kw_only=True)
class ObjectOptions(HttpOptions, SinkOptions):
    """Of object stores. An upload that began more than ``orphan_s`` ago belongs to a process that is dead."""

    bucket: str = setting(min_length=1, description="the bucket; azure: the container")
    prefix: str = setting("exports/", description="what every object's name begins with")
    endpoint: Endpoint = setting(None, description="https://host of the store; default: the cloud's own of the region")
    public_endpoint: Endpoint = setting(
        None, description="what links name, where recipients reach the store by another name"
    )
    storage_class: str | None = setting(
        None, description="such as STANDARD_IA, IA, NEARLINE, Cool; default: the bucket's"
    )
    kms_key_id: str | None = setting(None, description="the key that encrypts; gcs: its full name; azure: the scope")
    part_bytes: int = setting(
        10_000_000, ge=5 << 20, le=1 << 30, description="of an upload; larger only when parts would run out"
    )
    parts_at_once: int = setting(5, ge=1, le=32, description="parts of one file on their way at once")
    orphan_s: Duration = setting(86400.0, gt=0, description="unfinished uploads older than this are removed")


@dataclass(frozen=True, kw_only=True)
class KeyedOptions(ObjectOptions):
    """Of object stores whose requests are signed by a key and its secret."""

    access_key_id: str | None = setting(None, description="the key (gcs: HMAC); default: the cloud's own chain")
    secret_access_key: Secret | None = setting(None, description="its secret")

    def __post_init__(self) -> None:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("'access_key_id' and 'secret_access_key' are given together")
