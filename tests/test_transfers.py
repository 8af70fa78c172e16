"""Streams and pushes that a process runs, and its shutdown, on the parts that the service connects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from fluxport.auth.caller import Caller
from fluxport.auth.scopes import EVERYTHING
from fluxport.delivery.webhook import WebhookOptions
from fluxport.errors import Canceled, Conflict, Unavailable
from fluxport.jobs.catalog import Catalog
from fluxport.jobs.preview import preview
from fluxport.jobs.pushes import Pushes, PushRequest
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.slots import connection_slots
from fluxport.jobs.spool import Spool, SpoolOptions
from fluxport.jobs.store import JobStore
from fluxport.jobs.streams import Streams
from fluxport.jobs.submit import SubmitOptions, Submitter
from fluxport.jobs.transfers import Transfers, cancel
from fluxport.plan import Connection, guard_dialect
from fluxport.policy.guard import GuardPolicy
from fluxport.samples import create_sample
from fluxport.sinks.memory import MemorySink
from fluxport.sources.pushed import PushedColumn, PushedOptions, ReadSource
from fluxport.spec import ExportSpec
from fluxport.stages import Limits
from identity_support import Clock, empty_store

ANN = Caller("ann", scopes=EVERYTHING)
SPEC = ExportSpec("SELECT * FROM trades")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    with empty_store(f"sqlite:///{tmp_path}/fluxport.db", Clock()) as made:
        yield made


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    create_sample(tmp_path / "rows.db", 10, ("ann",))
    url = f"sqlite:///{tmp_path}/rows.db"
    main = Connection("main", url, GuardPolicy(dialect=guard_dialect(url)))
    return Catalog({"main": main}, {"local": MemorySink()}, Limits())


@pytest.fixture
def transfers() -> Transfers:
    return Transfers()


@pytest.fixture
def streams(catalog: Catalog, store: JobStore, transfers: Transfers) -> Iterator[Streams]:
    spool = Spool(SpoolOptions())
    yield Streams(catalog, store, transfers, connection_slots(catalog, 1.0), spool)
    spool.close()


def test_a_service_that_shuts_down_accepts_nothing_new(
    store: JobStore, catalog: Catalog, transfers: Transfers, streams: Streams
) -> None:
    submitter = Submitter(catalog, store, SubmitOptions({"native": 5}, 5, WebhookOptions(), None), transfers.check_open)
    pushes = Pushes(catalog, store, transfers, store_name="local", keep_s=60)
    source = ReadSource(pa.schema({"a": pa.string()}), lambda: None, lambda: None, PushedOptions())
    push = PushRequest("one", "digest", "csv", "rows", (PushedColumn("a", "string"),))
    new: list[Callable[[], object]] = [
        partial(streams.check, SPEC, ANN),
        partial(streams.open, SPEC, ANN),
        partial(submitter.submit, ExportRequest(SPEC), ANN, api="native"),
        partial(preview, SPEC, ANN, catalog, streams.slots, store, transfers),
        partial(pushes.begin, push, source, ANN, api="grpc"),
    ]
    transfers.drain()
    for begin in new:
        with pytest.raises(Unavailable) as refused:
            begin()
        assert refused.value.code == "closing"
    assert store.page(ANN) == []
    pushes.close()


def test_a_stream_runs_until_its_end_and_is_recorded(store: JobStore, transfers: Transfers, streams: Streams) -> None:
    stream = streams.open(SPEC, ANN)
    assert not transfers.any_running  # no query has begun
    first = next(stream.chunks)
    running = transfers.any_running
    transfers.drain()  # running streams go on
    size_bytes = len(first) + sum(len(chunk) for chunk in stream.chunks)
    assert (running, transfers.any_running) == (True, False)
    ended = store.get(stream.record.id)
    assert (ended.status, ended.rows, ended.bytes) == ("completed", 10, size_bytes)


def test_a_canceled_stream_ends_and_a_second_cancel_is_a_conflict(
    store: JobStore, transfers: Transfers, streams: Streams
) -> None:
    ended = threading.Event()
    record = streams.open(SPEC, ANN).record
    with transfers.running(record.id, ended.set):
        assert cancel(record.id, ANN, store, transfers).status == "canceled"
        assert ended.is_set()
        with pytest.raises(Conflict):
            cancel(record.id, ANN, store, transfers)


def test_a_stream_that_the_shutdown_ends_fails_with_that_reason(
    store: JobStore, transfers: Transfers, streams: Streams
) -> None:
    stream = streams.open(SPEC, ANN, whole=True)
    next(stream.chunks)
    transfers.close()
    with pytest.raises(Canceled):
        for _ in stream.chunks:
            pass
    error = store.get(stream.record.id).error
    assert error is not None
    assert error.code == "closing"
