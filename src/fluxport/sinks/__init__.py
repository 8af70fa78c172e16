"""The sinks: a table of types, each loaded when used."""

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
    """What is known of a type of sink before it is loaded.

    ``module`` begins with a dot if it is below this package. ``sink`` is the name there of a class or function that is
    called as ``sink(options, overwrite=...)`` and reaches nothing yet; ``options`` is its settings dataclass, which
    extends ``SinkOptions`` (with ``schemes``: ``ObjectOptions``).
    """

    module: str
    sink: str
    options: str
    label: str  # for people
    schemes: tuple[str, ...] = ()  # of URLs that name a bucket and a key: s3://bucket/key
    extra: str | None = None  # of the package, where the sink needs it, or some of its credentials do
    aliases: tuple[str, ...] = ()


SINKS = Table(
    "sink",
    SinkEntry,
    {
        "local": SinkEntry(".local", "local_sink", "LocalOptions", "a folder"),
        "memory": SinkEntry(".memory", "MemorySink", "MemoryOptions", "memory"),
        "s3": SinkEntry(".s3", "S3Sink", "S3Options", "S3 and what speaks its protocol", ("s3",), "aws"),
        "oss": SinkEntry(".oss", "OssSink", "OssOptions", "Alibaba Cloud OSS", ("oss",)),
        "gcs": SinkEntry(".gcs", "GcsSink", "GcsOptions", "Google Cloud Storage", ("gs",), "gcs"),
        "azure": SinkEntry(".azure", "AzureSink", "AzureOptions", "Azure Blob Storage", ("az",), "azure"),
        "sftp": SinkEntry(".sftp", "SftpSink", "SftpOptions", "an SFTP server", (), "sftp"),
        "webdav": SinkEntry(".webdav", "WebdavSink", "WebdavOptions", "a WebDAV server (Nextcloud and others)"),
    },
)
SCHEMES = {scheme: name for name, entry in SINKS.built_in.items() for scheme in entry.schemes}


def type_at(scheme: str) -> str | None:
    """The type of sink that a URL's scheme names; None if none does."""
    if scheme in SCHEMES:
        return SCHEMES[scheme]
    return next((name for name, entry in SINKS.items() if scheme in entry.schemes), None)


def options_class(name: str) -> type[SinkOptions]:
    """The settings dataclass of a type of the table; nothing that the sink itself needs is imported for it."""
    found: type[SinkOptions] = _of(SINKS[name], SINKS[name].options)
    return found


def sink(options: SinkOptions, *, overwrite: bool = False, environ: Mapping[str, str] | None = None) -> Sink:
    """The sink of these settings, its library loaded; Refused if it cannot work as they say, or the library is
    missing."""
    entry = SINKS[options.type]
    made: Sink = _of(entry, entry.sink)(
        options.completed(os.environ if environ is None else environ), overwrite=overwrite
    )
    return made


def _of(entry: SinkEntry, name: str) -> Any:
    return getattr(importlib.import_module(entry.module, __name__), name)
