"""The contract of sinks, run on every built-in one."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import store_support as stores
from fluxport.errors import StoreFull
from fluxport.sinks import SINKS
from fluxport.sinks.memory import MemoryOptions, MemorySink
from fluxport.stages import Chunks
from fluxport.testing import SinkCase, SinkContract
from object_double import GoogleIdentity, ObjectDouble

STORES = ("azure", "gcs", "local", "memory", "oss", "s3", "sftp", "webdav")


def test_every_sink_of_the_table_is_in_this_suite() -> None:
    """A new sink is one row in the table and one here."""
    assert set(STORES) == set(SINKS.built_in)


@functools.cache
def google_identity() -> GoogleIdentity:
    return GoogleIdentity()


@contextlib.contextmanager
def running(name: str, tmp_path: Path, request: Any) -> Iterator[SinkCase]:
    """The store and the server that it needs."""
    match name:
        case "local":
            yield stores.local(tmp_path)
        case "memory":
            yield stores.memory()
        case "sftp":
            yield stores.sftp(request.getfixturevalue("sftp"))
        case "webdav":
            yield stores.webdav(request.getfixturevalue("webdav"))
        case "s3":
            yield stores.s3(request.getfixturevalue("ceph"))
        case "azure":
            yield stores.azure(request.getfixturevalue("azurite"))
        case "oss":
            with stores.oss_double().running() as double:
                yield stores.oss(double)
        case "gcs":
            identity = google_identity()
            with identity.running() as url, ObjectDouble("x-goog-", identity.verify).running() as double:
                yield stores.gcs(double, identity, url, tmp_path)


@pytest.fixture(params=STORES)
def subject(request: Any, tmp_path: Path) -> Iterator[SinkCase]:
    with running(request.param, tmp_path, request) as found:
        yield found


class TestSinks(SinkContract):
    pass


def once(data: bytes) -> Chunks:
    yield data


def test_the_memory_sink_is_bounded_over_all_its_files() -> None:
    """StoreFull when all files together exceed the limit; deleted files free their space."""
    sink = MemorySink(MemoryOptions(bytes_max=1000))
    sink.put("a", once(b"x" * 600))
    with pytest.raises(StoreFull):
        sink.put("b", (c for c in (b"x" * 300, b"x" * 300)))
    assert sink.names() == ["a"]
    sink.put("c", once(b"x" * 400))
    assert sink.sweep(0, 4e9) == ["a", "c"]
    sink.put("d", once(b"x" * 1000))


def test_overwriting_in_memory_frees_the_space_of_the_old_file() -> None:
    """The limit counts what is stored now."""
    sink = MemorySink(MemoryOptions(bytes_max=1000), overwrite=True)
    for _ in range(10):
        sink.put("a", once(b"x" * 400))
    sink.put("b", once(b"x" * 600))
