"""The stores of the configuration as sinks, and what the environment says of them. Nothing is reached here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fluxport.config import Config, StoreConfig, checked
from fluxport.errors import Refused
from fluxport.stages import Sink

if TYPE_CHECKING:
    from pydantic import SecretStr

    from fluxport.sinks._http import HttpOptions
    from fluxport.sinks._sigv4 import Credentials
    from fluxport.sinks.objects import ObjectOptions

# Of a URL that names an object: the type of its store.
URL_SCHEMES = {"s3": "s3", "oss": "oss", "gs": "gcs", "az": "azure"}


def stores(config: Config) -> dict[str, Sink]:
    """Every store by its name, its library loaded."""
    return {name: sink(entry) for name, entry in config.stores.items()}


def sink(entry: StoreConfig, *, overwrite: bool = False, environ: Mapping[str, str] | None = None) -> Sink:
    """One store; Refused if it cannot work as it is configured, or its library is missing."""
    return _SINKS[entry.type](entry, overwrite, os.environ if environ is None else environ)


def at_url(url: str, config: Config) -> tuple[StoreConfig, str]:
    """The store and the key that a URL such as ``s3://bucket/key`` names.

    A store of the configuration with this bucket lends its settings, the default one first; a bucket that none has is
    reached with what the environment says.
    """
    parts = urlsplit(url)
    kind, bucket, key = URL_SCHEMES.get(parts.scheme), parts.netloc, parts.path.lstrip("/")
    if kind is None or not bucket or not key or parts.query or parts.fragment:
        raise Refused(f"{url!r} is not like s3://bucket/folder/file.csv.", code="bad_target")
    for entry in config.stores.values():
        if (entry.type, entry.bucket) == (kind, bucket):
            return entry.model_copy(update={"prefix": ""}), key
    default = config.stores["local"]
    given = default.model_dump(exclude_unset=True) if default.type == kind else {}
    named = {"type": kind, "bucket": bucket, "prefix": ""}
    return checked(StoreConfig, _from_environment(kind) | given | named, f"The store of {url!r}"), key


def _from_environment(kind: str) -> dict[str, str]:
    from fluxport.config import STORE_ALIASES

    return {key: os.environ[name] for name, key in STORE_ALIASES[kind].items() if os.environ.get(name)}


def _local(entry: StoreConfig, overwrite: bool, environ: Mapping[str, str]) -> Sink:
    from fluxport.sinks.local import LocalOptions, LocalSink

    try:
        entry.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(
            f"The folder {str(entry.path)!r} of a store cannot be made: {error.strerror}; set its 'path' to another.",
            code="bad_configuration",
        ) from None
    return LocalSink(entry.path.resolve(), LocalOptions(overwrite=overwrite, free_bytes_min=entry.free_bytes_min))


def _memory(entry: StoreConfig, overwrite: bool, environ: Mapping[str, str]) -> Sink:
    from fluxport.sinks.memory import MemoryOptions, MemorySink

    return MemorySink(MemoryOptions(bytes_max=entry.bytes_max, overwrite=overwrite))


def _s3(entry: StoreConfig, overwrite: bool, environ: Mapping[str, str]) -> Sink:
    from fluxport.sinks.s3 import S3Options, S3Sink

    region = entry.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = entry.endpoint or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None
    return S3Sink(
        S3Options(
            bucket=_bucket(entry),
            credentials=_aws_credentials(entry, environ),
            region=region,
            endpoint=endpoint,
            public_endpoint=entry.public_endpoint,
            path_style=entry.path_style,
            storage_class=entry.storage_class,
            encryption=entry.encryption,
            kms_key_id=entry.kms_key_id,
            tags=entry.tags,
            http=_http(entry),
            objects=_objects(entry, overwrite),
        )
    )


def _aws_credentials(entry: StoreConfig, environ: Mapping[str, str]) -> Callable[[], Credentials]:
    """Those of the configuration, else of the environment, else whatever the AWS SDK finds."""
    from fluxport.sinks._sigv4 import Credentials

    key, secret, token = entry.access_key_id, _secret(entry.secret_access_key), _secret(entry.session_token)
    if key is None and entry.profile is None:
        key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        token = environ.get("AWS_SESSION_TOKEN")
    if key and secret:
        found = Credentials(key, secret, token or None)
        return lambda: found
    from fluxport.sinks._aws import sdk_credentials

    return sdk_credentials(entry.profile)


def _gcs(entry: StoreConfig, overwrite: bool, environ: Mapping[str, str]) -> Sink:
    from fluxport.sinks.gcs import GcsOptions, GcsSink

    return GcsSink(
        GcsOptions(
            bucket=_bucket(entry),
            endpoint=entry.endpoint,
            public_endpoint=entry.public_endpoint,
            access_key_id=entry.access_key_id,
            secret_access_key=_secret(entry.secret_access_key),
            credentials_file=None if entry.credentials_file is None else str(entry.credentials_file),
            storage_class=entry.storage_class,
            kms_key_id=entry.kms_key_id,
            http=_http(entry),
            objects=_objects(entry, overwrite),
        )
    )


def _azure(entry: StoreConfig, overwrite: bool, environ: Mapping[str, str]) -> Sink:
    from fluxport.sinks.azure import AzureOptions, AzureSink

    return AzureSink(
        AzureOptions(
            container=_bucket(entry),
            account=entry.account,
            account_key=_secret(entry.account_key),
            sas_token=_secret(entry.sas_token),
            endpoint=entry.endpoint,
            public_endpoint=entry.public_endpoint,
            storage_class=entry.storage_class,
            encryption_scope=entry.kms_key_id,
            tags=entry.tags,
            http=_http(entry),
            objects=_objects(entry, overwrite),
        )
    )


def _oss(entry: StoreConfig, overwrite: bool, environ: Mapping[str, str]) -> Sink:
    from fluxport.sinks.oss import OssOptions, OssSink

    return OssSink(
        OssOptions(
            bucket=_bucket(entry),
            region=entry.region,
            endpoint=entry.endpoint,
            public_endpoint=entry.public_endpoint,
            path_style=bool(entry.path_style),
            access_key_id=entry.access_key_id or environ.get("OSS_ACCESS_KEY_ID"),
            access_key_secret=_secret(entry.secret_access_key) or environ.get("OSS_ACCESS_KEY_SECRET"),
            session_token=_secret(entry.session_token) or environ.get("OSS_SESSION_TOKEN"),
            signature=entry.signature,
            storage_class=entry.storage_class,
            encryption=entry.encryption,
            kms_key_id=entry.kms_key_id,
            tags=entry.tags,
            http=_http(entry),
            objects=_objects(entry, overwrite),
        )
    )


def _sftp(entry: StoreConfig, overwrite: bool, environ: Mapping[str, str]) -> Sink:
    from fluxport.sinks.sftp import SftpOptions, SftpSink

    assert entry.host is not None  # the configuration has looked
    assert entry.user is not None
    return SftpSink(
        SftpOptions(
            host=entry.host,
            port=entry.port,
            user=entry.user,
            path=str(entry.path),
            password=_secret(entry.password),
            key_file=None if entry.key_file is None else str(entry.key_file),
            known_hosts=None if entry.known_hosts is None else str(entry.known_hosts),
            overwrite=overwrite,
            timeout_s=entry.timeout_s,
            orphan_s=entry.orphan_s,
        )
    )


_SINKS: dict[str, Callable[[StoreConfig, bool, Mapping[str, str]], Sink]] = {
    "local": _local,
    "memory": _memory,
    "s3": _s3,
    "gcs": _gcs,
    "azure": _azure,
    "oss": _oss,
    "sftp": _sftp,
}


def _bucket(entry: StoreConfig) -> str:
    assert entry.bucket is not None  # the configuration has looked
    return entry.bucket


def _http(entry: StoreConfig) -> HttpOptions:
    from fluxport.sinks._http import HttpOptions

    ca_file = None if entry.ca_file is None else str(entry.ca_file)
    return HttpOptions(ca_file=ca_file, timeout_s=entry.timeout_s, tries_max=entry.tries_max)


def _objects(entry: StoreConfig, overwrite: bool) -> ObjectOptions:
    from fluxport.sinks.objects import ObjectOptions

    return ObjectOptions(
        prefix=entry.prefix,
        overwrite=overwrite,
        part_bytes=entry.part_bytes,
        parts_at_once=entry.parts_at_once,
        orphan_s=entry.orphan_s,
    )


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()
