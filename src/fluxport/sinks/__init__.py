"""The sinks: a table of types, each loaded on first use."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from fluxport.plugins import Table

if TYPE_CHECKING:
    from fluxport.sinks.options import SinkOptions
    from fluxport.stages import Sink


class SinkEntry(NamedTuple):
    """What the program knows about a type of sink before loading it.

    ``module`` begins with a dot if it is below this package. ``sink`` names a class or function in it, called as
    ``sink(options, overwrite=...)``, which must not connect yet; ``options`` names its settings dataclass, which
    extends ``SinkOptions`` (with ``schemes``: ``ObjectOptions``).
    """

    module: str
    sink: str
    options: str
    label: str  # display name
    schemes: tuple[str, ...] = ()  # of URLs with a bucket and a key: s3://bucket/key
    extra: str | None = None  # the package extra that the sink, or some of its credentials, require
    aliases: tuple[str, ...] = ()


SINKS = Table(
    "sink",
    SinkEntry,
    {
        "local": SinkEntry(".local", "local_sink", "LocalOptions", "a folder"),
        "memory": SinkEntry(".memory", "MemorySink", "MemoryOptions", "memory"),
        "s3": SinkEntry(".s3", "S3Sink", "S3Options", "S3 and compatible services", ("s3",), "aws"),
        "oss": SinkEntry(".oss", "OssSink", "OssOptions", "Alibaba Cloud OSS", ("oss",)),
        "gcs": SinkEntry(".gcs", "GcsSink", "GcsOptions", "Google Cloud Storage", ("gs",), "gcs"),
        "azure": SinkEntry(".azure", "AzureSink", "AzureOptions", "Azure Blob Storage", ("az",), "azure"),
        "sftp": SinkEntry(".sftp", "SftpSink", "SftpOptions", "an SFTP server", (), "sftp"),
        "webdav": SinkEntry(".webdav", "WebdavSink", "WebdavOptions", "a WebDAV server (Nextcloud and others)"),
    },
)
NAMED = "store"  # the scheme of URLs with the name of a configured store: store://name/key
SCHEMES = {scheme: name for name, entry in SINKS.built_in.items() for scheme in entry.schemes}


def type_at(scheme: str) -> str | None:
    """The type of sink for a URL's scheme; None if there is none."""
    if scheme in SCHEMES:
        return SCHEMES[scheme]
    return next((name for name, entry in SINKS.items() if scheme in entry.schemes), None)


def options_class(name: str) -> type[SinkOptions]:
    """The settings dataclass of a type in the table; the libraries of the sink are not imported."""
    settings_type: type[SinkOptions] = _of(SINKS[name], SINKS[name].options)
    return settings_type


def sink(options: SinkOptions, *, overwrite: bool = False, environ: Mapping[str, str] | None = None) -> Sink:
    """The sink with these settings, its library loaded; Refused if they are invalid or the library is missing."""
    entry = SINKS[options.type]
    new_sink: Sink = _of(entry, entry.sink)(
        options.completed(os.environ if environ is None else environ), overwrite=overwrite
    )
    return new_sink


def _of(entry: SinkEntry, name: str) -> Any:
    return getattr(importlib.import_module(entry.module, __name__), name)
