"""The queue: order, requeueing after a lost worker, and wake-ups, on SQLite and PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fluxport.auth.caller import Caller
from fluxport.jobs import queue
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.wake import Wake
from fluxport.spec import ExportSpec
from fluxport.tables import connect, database_now, executors, notifications
from fluxport.tables import queue as queued
from identity_support import Clock, empty_store
from postgres_support import scratch_postgres

ANN, BOB = Caller("ann"), Caller("bob")
A_MINUTE_S = 60.0
CREATE = """
import sys
from fluxport.jobs.request import ExportRequest
from fluxport.auth.caller import Caller
from fluxport.jobs.store import JobStore
from fluxport.spec import ExportSpec
sys.stdin.readline()
JobStore(sys.argv[1]).create(
    ExportRequest(ExportSpec("SELECT 1")), Caller("ann"), api="native", active_max=9, queue_max=9
)
"""


def submitted(store: JobStore, caller: Caller = ANN, *, connection: str = "main", **given: Any) -> Record:
    request = ExportRequest(ExportSpec("SELECT 1", connection=connection), **given)
    return store.create(request, caller, api="native", active_max=99, queue_max=99)[0]


def taken(store: JobStore, worker: str, queries_max: dict[str, int], most: int = 99) -> set[str]:
    with store.engine.begin() as connection:
        records, _ = store.take(connection, worker, queries_max, most, attempts_max=9)
    return {record.id for record in records}


def test_a_connection_is_read_by_no_more_than_it_may_be_over_all_workers(store: JobStore) -> None:
    main = [submitted(store).id for _ in range(5)]
    other = submitted(store, connection="other").id
    assert taken(store, "one", {"main": 3, "other": 1}, most=2) < {*main, other}
    assert len(taken(store, "two", {"main": 3, "other": 1})) == 2
    assert taken(store, "three", {"main": 3, "other": 1}) == set()
    assert taken(store, "three", {"unknown": 9}) == set()


def test_owners_take_turns_and_priority_decides_among_ones_own(store: JobStore, clock: Clock) -> None:
    def later(caller: Caller, **given: Any) -> str:
        clock.now += 1
        return submitted(store, caller, **given).id

    first, second, urgent = later(ANN), later(ANN), later(ANN, priority=1)
    bobs = later(BOB)
    order = [next(iter(taken(store, "worker", {"main": n}))) for n in range(1, 5)]
    assert order == [urgent, bobs, first, second]


def test_an_ended_export_leaves_the_queue_and_its_notifications_wait(store: JobStore) -> None:
    notify = {"email": ["a@example.com", "b@example.com"], "webhook": "https://example.com/"}
    done, stopped = submitted(store, notify=notify), submitted(store, notify=notify)
    taken(store, "worker", {"main": 2})
    store.move(done.id, "completed")
    store.move(stopped.id, "canceled")
    with store.engine.begin() as connection:
        assert connection.execute(sa.select(queued.c.export_id)).all() == []
        now = database_now(connection)
        found = queue.take_notifications(connection, "worker", 99, now)
        assert queue.take_notifications(connection, "another", 99, now) == []
        (again, *others) = sorted(found)
        for tell in others:
            queue.notified(connection, tell, "worker", None)
        queue.notified(connection, again, "worker", A_MINUTE_S)
        assert queue.take_notifications(connection, "worker", 99, now) == []
        export_s, tell_s = queue.next_due(connection, now)
        left = connection.execute(
            sa.select(notifications.c.export_id, notifications.c.target, notifications.c.tries)
        ).all()
    assert {(tell.export_id, tell.target) for tell in found} == {
        (done.id, "email:0"), (done.id, "email:1"), (done.id, "webhook:0"), (stopped.id, "webhook:0"),
    }  # fmt: skip
    assert left == [(again.export_id, again.target, 1)]
    assert export_s is None
    assert tell_s is not None
    assert A_MINUTE_S <= tell_s < A_MINUTE_S + 60


def test_jobs_of_a_worker_without_a_heartbeat_are_requeued(store: JobStore) -> None:
    reported, export = submitted(store, notify={"webhook": "https://example.com/"}), submitted(store)
    with store.engine.begin() as connection:
        now = database_now(connection)
        for worker in ("silent", "alive"):
            assert queue.beat(connection, worker, now) == (0, True)
    store.move(reported.id, "canceled")
    assert taken(store, "silent", {"main": 1}) == {export.id}
    with store.engine.begin() as connection:
        assert len(queue.take_notifications(connection, "silent", 9, now)) == 1
        assert queue.beat(connection, "alive", now) == (0, False)
        later = now + queue.DEAD_AFTER_S + 1
        assert queue.beat(connection, "alive", later) == (2, True)
        assert list(connection.scalars(sa.select(executors.c.id))) == ["alive"]
    assert taken(store, "alive", {"main": 1}) == {export.id}
    with store.engine.begin() as connection:  # it comes back, and changes nothing
        queue.give_back(connection, export.id, "silent", 0.0)
    assert taken(store, "silent", {"main": 1}) == set()
    with store.engine.begin() as connection:
        queue.leave(connection, "alive")
    assert taken(store, "silent", {"main": 1}) == {export.id}


def test_jobs_claimed_without_confirmation_are_requeued_and_the_rest_are_not(store: JobStore) -> None:
    ended = submitted(store, notify={"email": ["a@example.com", "b@example.com"]})
    store.move(ended.id, "failed")
    for _ in range(3):
        submitted(store)
    workers = ("worker", "worker", "another")
    known, unknown, _ = (taken(store, worker, {"main": n}) for n, worker in enumerate(workers, start=1))
    with store.engine.begin() as connection:
        now = database_now(connection)
        first, second = queue.take_notifications(connection, "worker", 9, now)
        queue.give_back_unknown(connection, "worker", [*known], [first])
        assert queue.take_notifications(connection, "worker", 9, now) == [second]
    assert taken(store, "worker", {"main": 9}) == unknown
    with store.engine.begin() as connection:
        queue.give_back_unknown(connection, "worker", [], [])
        assert sorted(queue.take_notifications(connection, "worker", 9, now)) == sorted([first, second])
    assert taken(store, "worker", {"main": 9}) == known | unknown


def test_a_worker_is_woken_by_another_process_and_by_its_own(store: JobStore, url: str) -> None:
    with closing(Wake(store.engine)) as wake, ThreadPoolExecutor(1) as threads:
        wake.wait(0.0)  # PostgreSQL: listening begins
        other = subprocess.Popen([sys.executable, "-c", CREATE, url], stdin=subprocess.PIPE)
        woken = threads.submit(wake.wait, 600.0)
        assert not woken.done()
        other.communicate(b"\n", timeout=60)
        woken.result(timeout=60)
        assert len(taken(store, "worker", {"main": 1})) == 1
        woken = threads.submit(wake.wait, 600.0)
        wake.wake()
        woken.result(timeout=60)


def test_a_session_that_was_lost_before_it_listens_is_tried_again() -> None:
    with scratch_postgres() as postgres:
        engine = connect(postgres.url, patient=True)
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT 1"))
        for pid in postgres.backends():
            postgres.terminate(pid)
        with closing(Wake(engine)) as wake:
            wake.wait(0.0)
        engine.dispose()


def test_wakes_from_before_it_sleeps_are_not_lost(store: JobStore) -> None:
    with closing(Wake(store.engine)) as wake, ThreadPoolExecutor(1) as threads:
        wake.wait(0.0)
        for cause in (wake.wake, lambda: submitted(store)):
            cause()
            threads.submit(wake.wait, 600.0).result(timeout=60)


def test_any_user_who_may_write_the_file_wakes_its_workers(tmp_path: Path) -> None:
    """Nothing beside the database is needed, and nothing remains."""
    with empty_store(f"sqlite:///{tmp_path}/fluxport.db", Clock()) as store:
        with closing(Wake(store.engine)) as wake:
            before = sorted(path.name for path in tmp_path.iterdir())
            submitted(store)
            wake.wait(600.0)
            assert sorted(path.name for path in tmp_path.iterdir()) == before
