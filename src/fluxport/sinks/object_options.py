"""Settings shared by sinks over HTTP, and by object stores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fluxport.settings import Duration, Endpoint, Secret, setting
from fluxport.sinks.options import SinkOptions


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """Settings of sinks over HTTP. ``timeout_s`` applies to one read or write of at most 256 KiB."""

    ca_file: Path | None = setting(
        None, description="PEM file of the authorities that sign the store's certificate; default: the system's"
    )
    connect_timeout_s: Duration = setting(10.0, gt=0, description="time limit to open a connection")
    timeout_s: Duration = setting(
        60.0, gt=0, description="time without data from the store after which a request is retried"
    )
    tries_max: int = setting(6, ge=1, le=20, description="maximum attempts of one request")
    retry_first_s: Duration = setting(0.2, gt=0, description="the longest first wait between two attempts; doubles")
    retry_most_s: Duration = setting(20.0, gt=0, description="the longest wait between two attempts")


@dataclass(frozen=True, kw_only=True)
class ObjectOptions(HttpOptions, SinkOptions):
    """Settings of object stores. An upload that began more than ``orphan_s`` ago is orphaned: its process exited."""

    bucket: str = setting(min_length=1, description="the bucket; azure: the container")
    prefix: str = setting("exports/", description="the prefix of every object's name")
    endpoint: Endpoint = setting(None, description="https://host of the store; default: the cloud's, by region")
    public_endpoint: Endpoint = setting(
        None, description="endpoint in presigned URLs, where recipients reach the store by another name"
    )
    storage_class: str | None = setting(
        None, description="such as STANDARD_IA, IA, NEARLINE, Cool; default: the bucket's"
    )
    kms_key_id: str | None = setting(None, description="the encryption key; gcs: its full name; azure: the scope")
    part_bytes: int = setting(
        10_000_000, ge=5 << 20, le=1 << 30, description="size of a part; files with too many parts use larger ones"
    )
    parts_at_once: int = setting(5, ge=1, le=32, description="parts of one file uploaded in parallel")
    orphan_s: Duration = setting(86400.0, gt=0, description="unfinished uploads older than this are removed")


@dataclass(frozen=True, kw_only=True)
class KeyedOptions(ObjectOptions):
    """Settings of object stores whose requests are signed with an access key and its secret."""

    access_key_id: str | None = setting(
        None, description="the key (gcs: HMAC); default: the provider's credential chain"
    )
    secret_access_key: Secret | None = setting(None, description="its secret")

    def __post_init__(self) -> None:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("'access_key_id' and 'secret_access_key' must be given together")
