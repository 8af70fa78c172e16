"""After a failed attempt: only temporary errors are retried, after growing waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxport.auth.caller import Caller
from fluxport.jobs.attempts import AttemptOptions, Attempts
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.store import JobStore, Record
from fluxport.plan import Connection, check, of_query
from fluxport.sinks.memory import MemorySink
from fluxport.spec import ExportSpec
from fluxport.stages import Limits
from identity_support import Clock, empty_store

NOWHERE = Connection("main", "mysql://fluxport@127.0.0.1:1/app")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    with empty_store(f"sqlite:///{tmp_path}/fluxport.db", Clock()) as made:
        yield made


def attempts(store: JobStore, connection: Connection) -> Attempts:
    def plan(spec: ExportSpec, export_id: str, owner: str) -> object:
        return check(spec, of_query(spec, connection, lambda: spec.query), limits=Limits()).open(export_id)

    return Attempts(store, {"local": MemorySink()}, plan, AttemptOptions(keep_s=3600))  # type: ignore[arg-type]  # a plan of the test


def queued(store: JobStore, query: str = "SELECT 1") -> Record:
    requested = ExportRequest(ExportSpec(query))
    return store.create(requested, Caller("ann"), api="native", active_max=5, queue_max=5)[0]


def attempt(store: JobStore, runs: Attempts, record: Record) -> float | None:
    begun = store.claim(record.id, attempts_max=10)
    assert begun is not None
    return runs.run(begun)


def test_an_unreachable_database_is_tried_three_times_with_doubling_waits(store: JobStore) -> None:
    record, runs = queued(store), attempts(store, NOWHERE)
    waits = [attempt(store, runs, record) for _ in range(3)]
    first, second, last = waits
    assert first is not None
    assert second is not None
    assert 0.5 <= first <= 1.0
    assert 1.0 <= second <= 2.0
    assert last is None
    ended = store.get(record.id)
    assert (ended.status, ended.attempts) == ("failed", 3)
    assert [error.code for error in ended.attempt_errors] == ["source_unreachable"] * 3
    assert store.claim(record.id, attempts_max=10) is None


def test_no_wait_is_longer_than_half_a_minute(store: JobStore) -> None:
    runs, record = attempts(store, NOWHERE), queued(store)
    assert max(runs._wait(record, tries) for tries in range(1, 40)) <= 30.0


def test_what_the_database_refuses_is_not_tried_again(store: JobStore, tmp_path: Path) -> None:
    (tmp_path / "rows.db").touch()
    record = queued(store, "SELECT nothing FROM nowhere")
    assert attempt(store, attempts(store, Connection("main", f"sqlite:///{tmp_path}/rows.db")), record) is None
    ended = store.get(record.id)
    assert (ended.status, ended.attempts) == ("failed", 1)
    assert ended.error is not None
    assert ended.error.retryable is False


def test_an_export_canceled_before_its_attempt_is_not_begun(store: JobStore) -> None:
    record = queued(store)
    store.move(record.id, "canceled")
    assert store.claim(record.id, attempts_max=10) is None
    assert (store.get(record.id).status, store.get(record.id).attempts) == ("canceled", 0)


def test_attempts_of_lost_workers_have_a_reason_and_do_not_count(store: JobStore) -> None:
    record, runs = queued(store), attempts(store, NOWHERE)
    for _ in range(4):  # of workers that were killed
        assert store.claim(record.id, attempts_max=10) is not None
    assert attempt(store, runs, record) is not None  # the first that something outside ended
    reasons = [reason.code for reason in store.get(record.id).attempt_errors]
    assert reasons == ["worker_lost"] * 4 + ["source_unreachable"]
    assert attempt(store, runs, record) is not None
    assert attempt(store, runs, record) is None
    assert store.get(record.id).attempts == 7


def test_an_export_whose_workers_all_crashed_records_each_crash(store: JobStore) -> None:
    record = queued(store)
    for _ in range(10):
        assert store.claim(record.id, attempts_max=10) is not None
    with store.engine.begin() as connection:
        taken, given_up = store.take(connection, "worker", {"main": 1}, 1, attempts_max=10)
    assert (taken, [given.id for given in given_up]) == ([], [record.id])
    ended = store.get(record.id)
    assert ended.error is not None
    assert ended.error.code == "workers_died"
    assert [reason.code for reason in ended.attempt_errors] == ["worker_lost"] * 10
