"""The sinks: a table of names, loaded when used."""

from __future__ import annotations

from typing import NamedTuple


class SinkEntry(NamedTuple):
    """Where a sink lives: its module here, its class and its options dataclass."""

    module: str
    sink: str
    options: str


SINKS: dict[str, SinkEntry] = {
    "local": SinkEntry("local", "LocalSink", "LocalOptions"),
    "memory": SinkEntry("memory", "MemorySink", "MemoryOptions"),
    "s3": SinkEntry("s3", "S3Sink", "S3Options"),
    "oss": SinkEntry("oss", "OssSink", "OssOptions"),
    "gcs": SinkEntry("gcs", "GcsSink", "GcsOptions"),
    "sftp": SinkEntry("sftp", "SftpSink", "SftpOptions"),
    "azure": SinkEntry("azure", "AzureSink", "AzureOptions"),
}
