"""The table of exports, on SQLite and PostgreSQL: states, limits, and who may change what."""

from __future__ import annotations

import itertools
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import pytest
import sqlalchemy as sa

from export_states import FOLLOWS
from fluxport.auth.caller import Caller
from fluxport.delivery.email import EmailOptions
from fluxport.delivery.webhook import WebhookOptions
from fluxport.error_codes import Failure
from fluxport.errors import Conflict, FluxportError, NotFound, TooMany, Unavailable, Unprocessable
from fluxport.http.queue import job_json as queue_json
from fluxport.jobs.notify import Notifier
from fluxport.jobs.outcome import Result
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.states import Status
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.sweep import expire, forget
from fluxport.jobs.view import job_json
from fluxport.sinks.memory import MemorySink
from fluxport.spec import ExportSpec
from fluxport.tables import exports, transaction
from identity_support import Clock

ANN, BOB = Caller("ann", person=True), Caller("bob", person=True)
DAY_S = 86400.0
# How an export gets to each state.
WAYS: dict[Status, tuple[Status, ...]] = {
    "queued": (),
    "running": ("running",),
    "completed": ("running", "completed"),
    "failed": ("failed",),
    "canceled": ("canceled",),
    "expired": ("running", "completed", "expired"),
}


def requested(**given: Any) -> ExportRequest:
    return ExportRequest(ExportSpec("SELECT 1", **given))


def created(
    store: JobStore, caller: Caller = ANN, *, active_max: int = 100, queue_max: int = 100, **given: Any
) -> Record:
    record, _ = store.create(requested(), caller, api="native", active_max=active_max, queue_max=queue_max, **given)
    return record


def brought_to(store: JobStore, status: Status) -> Record:
    record = created(store)
    for step in WAYS[status]:
        record = store.move(record.id, step)
    assert record.status == status
    return record


@pytest.mark.parametrize("before", get_args(Status))
@pytest.mark.parametrize("after", get_args(Status))
def test_a_state_follows_another_where_the_table_says_so_and_nowhere_else(
    store: JobStore, before: Status, after: Status
) -> None:
    record = brought_to(store, before)
    if after in FOLLOWS[before]:
        assert store.move(record.id, after).status == after
    else:
        with pytest.raises(Conflict):
            store.move(record.id, after)
        assert store.get(record.id).status == before


def test_an_attempt_whose_fence_is_old_changes_nothing(store: JobStore) -> None:
    record = created(store)
    first, second = store.claim(record.id, attempts_max=9), store.claim(record.id, attempts_max=9)
    assert first is not None
    assert second is not None
    assert (first.fence, second.fence) == (1, 2)
    assert store.progress(record.id, first.fence, "reading", 5, 50) is None
    store.attempt_failed(record.id, first.fence, Failure("late", ""))
    store.expect(record.id, first.fence, 7)
    with pytest.raises(Conflict):
        store.move(record.id, "completed", fence=first.fence, rows=5)
    now = store.get(record.id)
    assert (now.status, now.rows, now.rows_total) == ("running", 0, None)
    assert [error.code for error in now.attempt_errors] == ["worker_lost"]  # of the first, when the second began
    assert store.progress(record.id, second.fence, "reading", 5, 50) == "running"
    assert store.move(record.id, "completed", fence=second.fence, rows=6).rows == 6


@pytest.mark.parametrize(
    ("rows", "total", "shown"),
    [(5, None, (None, None, None)), (5, 20, (20, 25.0, 30.0)), (20, 20, (20, 100.0, 0.0)), (21, 20, (None, None, None)),
     (5, 0, (None, None, None)), (0, 0, (0, None, None))],
)  # fmt: skip
def test_a_total_that_is_exceeded_is_unknown(
    store: JobStore, clock: Clock, rows: int, total: int | None, shown: tuple[Any, ...]
) -> None:
    """The table has grown since its rows were counted."""
    record = store.claim(created(store).id, attempts_max=9)
    assert record is not None
    if total is not None:
        store.expect(record.id, record.fence, total)
    store.progress(record.id, record.fence, "reading", rows, 50)
    record = store.get(record.id)
    assert record.started_at is not None
    view, of_queue = job_json(record, record.started_at + 10), queue_json(record, "token", consumed=False)
    assert (view["rows_total"], view["percent"], view["eta_s"]) == shown
    assert (of_queue["total"], of_queue["percent"]) == shown[:2]


def test_the_time_left_is_that_of_the_attempt_that_runs(store: JobStore, clock: Clock) -> None:
    """A first attempt of an hour says nothing about the rate of the second."""
    record = created(store)
    first = store.claim(record.id, attempts_max=9)
    assert first is not None
    clock.now += 3600
    store.attempt_failed(record.id, first.fence, Failure.of(Unavailable("lost", code="source_lost")))
    store.move(record.id, "queued", fence=first.fence)
    second = store.claim(record.id, attempts_max=9)
    assert second is not None
    store.expect(record.id, second.fence, 100)
    store.progress(record.id, second.fence, "reading", 20, 50)
    assert job_json(store.get(record.id), clock.now + 10)["eta_s"] == 40.0


def test_two_workers_never_share_one_of_ten_thousand_exports(store: JobStore, url: str) -> None:
    count = 10_000 if url.startswith("sqlite") else 2_000
    row = {
        "owner": "ann", "door": "native", "scope": "sql:main", "stored": True, "status": "queued",
        "spec": asdict(ExportSpec("SELECT 1")),
        "attempt_errors": [], "notify": {}, "created_at": 0.0,
    }  # fmt: skip
    with store.engine.begin() as connection:
        connection.execute(sa.insert(exports), [row | {"id": str(uuid.uuid4())} for _ in range(count)])
    script = [sys.executable, str(Path(__file__).parent / "claiming.py"), url]
    racing = [subprocess.Popen(script, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    got = [process.communicate(timeout=240)[0].split() for process in racing]
    assert [process.returncode for process in racing] == [0, 0]
    assert sorted(Counter(got[0] + got[1]).values()) == [1] * count
    with store.engine.connect() as connection:
        states = connection.execute(sa.select(exports.c.status, exports.c.attempts, sa.func.count()).group_by(
            exports.c.status, exports.c.attempts
        )).all()  # fmt: skip
    assert states == [("running", 1, count)]


@pytest.mark.parametrize(
    ("limits", "accepted", "error"), [({"active_max": 5}, 5, TooMany), ({"queue_max": 7}, 7, Unavailable)]
)
def test_fifty_concurrent_requests_never_exceed_the_limit(
    store: JobStore, limits: dict[str, Any], accepted: int, error: type[FluxportError]
) -> None:
    def ask(_: int) -> FluxportError | None:
        try:
            created(store, **limits)
        except FluxportError as refused:
            return refused
        return None

    with ThreadPoolExecutor(50) as callers:
        answers = list(callers.map(ask, range(50)))
    refusals = [answer for answer in answers if answer is not None]
    assert len(answers) - len(refusals) == accepted
    assert {type(refusal) for refusal in refusals} == {error}
    assert all(refusal.retry_after_s for refusal in refusals)


def test_a_limit_is_of_one_user_and_of_what_has_not_ended(store: JobStore) -> None:
    first = created(store, active_max=1)
    with pytest.raises(TooMany):
        created(store, active_max=1)
    created(store, BOB, active_max=1)
    created(store, Caller("ann", active_max=2), active_max=1)
    store.move(first.id, "canceled")
    with pytest.raises(TooMany):
        created(store, active_max=1)


def test_a_limit_is_of_one_api_unless_the_key_has_its_own(store: JobStore) -> None:
    created(store, active_max=1)
    request = requested()
    for _ in range(2):
        store.create(request, ANN, api="fluxquery", active_max=2, queue_max=9)
    for caller in (ANN, Caller("ann", active_max=3)):
        with pytest.raises(TooMany):
            store.create(request, caller, api="fluxquery", active_max=2, queue_max=9)
    store.create(request, Caller("ann", active_max=4), api="fluxquery", active_max=2, queue_max=9)


def test_a_read_waits_for_no_writer(store: JobStore) -> None:
    record = created(store)
    with transaction(store.engine) as writing:
        writing.execute(sa.update(exports).values(rows=7))
        assert store.get(record.id).rows == 0
        assert [found.id for found in store.page(ANN)] == [record.id]
        assert store.happened({record.id: 0})[record.id].events == []
    assert store.get(record.id).rows == 7


def test_one_key_is_one_export_however_many_concurrent_requests(store: JobStore) -> None:
    with ThreadPoolExecutor(20) as callers:
        records = list(callers.map(lambda _: created(store, idempotency=("key", "digest")), range(20)))
    assert len({record.id for record in records}) == 1
    with pytest.raises(Unprocessable):
        created(store, idempotency=("key", "another digest"))
    assert created(store, BOB, idempotency=("key", "digest")).id != records[0].id


def test_old_records_are_purged_unless_they_have_a_file(store: JobStore, clock: Clock) -> None:
    retained = brought_to(store, "completed")
    gone = [brought_to(store, status) for status in ("failed", "canceled", "expired")]
    clock.now += 10 * DAY_S
    recent = brought_to(store, "failed")
    while store.purge_history(5 * DAY_S):
        pass
    assert {record.id for record in store.page(ANN)} == {retained.id, recent.id}
    assert store.happened({gone[0].id: 0})[gone[0].id].events == []
    for record in gone:
        with pytest.raises(NotFound):
            store.get(record.id)
    assert {line["export_id"] for line in store.audit_page()} >= {record.id for record in gone}
    store.purge_audit(5 * DAY_S)
    assert {line["export_id"] for line in store.audit_page()} == {recent.id}


def test_a_stream_of_a_lost_process_is_failed_by_its_age(store: JobStore, clock: Clock) -> None:
    lost = store.create_stream(str(uuid.uuid4()), ExportSpec("SELECT 1"), ANN)
    clock.now += 100
    running = store.create_stream(str(uuid.uuid4()), ExportSpec("SELECT 1"), ANN)
    store.move(created(store).id, "running")
    assert store.lost_streams(50) == [lost.id]
    assert running.id not in store.lost_streams(0)


def test_expired_files_are_deleted_once(store: JobStore, clock: Clock) -> None:
    record = created(store)
    store.move(record.id, "running")
    store.move(record.id, "completed", expires_at=clock.now + 60)
    assert store.expire() == []
    clock.now += 61
    assert [expired.id for expired in store.expire()] == [record.id]
    assert store.expire() == []
    assert store.get(record.id).status == "expired"


def test_no_mail_offers_a_file_that_has_expired_or_says_that_its_export_failed(store: JobStore, clock: Clock) -> None:
    request = replace(requested(), notify={"email": ["ann@example.com"]})
    record = store.create(request, ANN, api="native", active_max=9, queue_max=9)[0]
    store.move(record.id, "running")
    result = Result("rows.csv", "text/csv", 1, 4, "0" * 64, "rows.csv")
    store.move(record.id, "completed", result=result, expires_at=clock.now - 1)
    store.expire()
    email = EmailOptions(security="auto", attachment_max_bytes=1 << 20)
    notifier = Notifier(store, email, WebhookOptions(), (), lambda record: None, {"local": MemorySink()})
    assert notifier.notify(record.id, "email:0", 3) is None
    assert store.audit_page(action="email")[0]["outcome"] == "file_expired"


def test_any_number_of_files_expire_at_once(store: JobStore, clock: Clock) -> None:
    record = created(store)
    store.move(record.id, "running")
    store.move(record.id, "completed", expires_at=clock.now - 1)
    columns = ", ".join(column.name for column in exports.c if column.name != "id")
    copies = f"""
        WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 33000)
        INSERT INTO exports (id, {columns}) SELECT CAST(n AS VARCHAR), {columns} FROM numbers, exports
    """
    with transaction(store.engine) as connection:
        connection.execute(sa.text(copies))
    assert len(store.expire()) == 33_001
    assert store.expire() == []


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        (ExportSpec("SELECT 1", params=[7]), {"query": "SELECT 1", "connection": "main", "params": [7]}),
        (ExportSpec(dataset="trades", params={"side": "buy"}), {"dataset": "trades", "params": {"side": "buy"}}),
        (ExportSpec(series={"sensor_id": "A", "start_ts": 1}), {"sensor_id": "A", "start_ts": 1}),
        (ExportSpec(pushed=[{"name": "id", "type": "number"}]), {"pushed": [{"name": "id", "type": "number"}]}),
    ],
)
def test_the_audit_says_where_the_rows_come_from(store: JobStore, spec: ExportSpec, source: dict[str, Any]) -> None:
    stream = store.create_stream(str(uuid.uuid4()), spec, ANN)
    (line,) = store.audit_page(export_id=stream.id)
    assert line["detail"]["source"] == line["detail"]["source"] | source


PAGE: dict[str, Any] = {"sort": [{"column": "id", "descending": True}, "day"], "limit": 10, "offset": 20}


def test_the_order_and_the_page_of_a_dataset_are_stored(store: JobStore) -> None:
    body = {"source": {"dataset": "trades", "params": {"note.not": "a"}, **PAGE}}
    request = ExportRequest.from_json(body)
    record, _ = store.create(request, ANN, api="native", active_max=9, queue_max=9)
    assert store.get(record.id, ANN).spec == record.spec == replace(request.spec, sort=PAGE["sort"])
    assert job_json(record, 0.0)["source"] == body["source"]


def test_neighbouring_versions_read_each_other_s_requests(store: JobStore) -> None:
    """An older one does not know the fields that a newer one added; only a request that uses them has them."""
    record = created(store)
    with transaction(store.engine) as connection:
        where = exports.c.id == record.id
        stored = connection.execute(sa.select(exports.c.spec).where(where)).scalar_one()
        assert not set(PAGE) & set(stored)
        older = {"filename": None, "dataset": None, "series": None, "pushed": None}
        connection.execute(exports.update().where(where).values(spec=stored | older))
    assert store.get(record.id, ANN).spec == record.spec


SPECS = (
    ExportSpec("SELECT 1", connection="main"),
    ExportSpec("SELECT 1", connection="other"),
    ExportSpec(dataset="trades"),
    ExportSpec(series={"sensor_id": "A"}),
    ExportSpec(connection="push", pushed=[{"name": "id", "type": "number"}]),
)


@pytest.mark.parametrize(
    ("scopes", "seen"),
    [
        (frozenset(), set()),
        ({"push"}, {"push"}),
        ({"sql:main"}, {"sql:main"}),
        ({"sql:*"}, {"sql:main", "sql:other"}),
        ({"sql:mai", "dataset:trade"}, set()),
        ({"dataset:*", "series", "admin"}, {"dataset:trades", "series"}),
    ],
)
def test_a_key_sees_of_its_user_what_its_scopes_would_let_it_make(
    store: JobStore, scopes: Collection[str], seen: set[str]
) -> None:
    for owner, key_id in itertools.product((ANN, BOB), ("k1", "k2", None)):
        for spec in SPECS:
            maker = replace(owner, key_id=key_id)
            store.create(ExportRequest(spec), maker, api="native", active_max=99, queue_max=99)
    everything = store.page(ANN, limit=100) + store.page(BOB, limit=100)
    assert len(everything) == 30
    key = Caller("ann", key_id="k1", scopes=frozenset(scopes))
    for caller, keys in ((key, {"k1", "k2", None}), (replace(key, own_results=True), {"k1"})):
        found = store.page(caller, limit=100)
        assert {(r.owner, r.scope, r.key_id) for r in found} == {("ann", scope, k) for scope in seen for k in keys}
        ids = {record.id for record in found}
        for record in everything:
            if record.id in ids:
                assert store.get(record.id, caller).id == record.id
            else:
                with pytest.raises(NotFound):
                    store.get(record.id, caller)
                with pytest.raises(NotFound):
                    store.page(caller, starting_after=record.id)


def test_an_idempotency_key_gives_no_access_to_exports_of_another_key(store: JobStore) -> None:
    first = Caller("ann", key_id="k1", scopes=frozenset({"sql:*"}), own_results=True)
    made = created(store, first, idempotency=("once", "0" * 64))
    assert created(store, first, idempotency=("once", "0" * 64)).id == made.id
    with pytest.raises(Unprocessable, match="another API key"):
        created(store, replace(first, key_id="k2"), idempotency=("once", "0" * 64))


def test_completed_jobs_of_one_api_are_forgotten_with_their_files_after_a_quarter_of_an_hour(
    store: JobStore, clock: Clock
) -> None:
    sink = MemorySink()

    def job(name: str, api: str = "queue", **notify: Any) -> Record:
        request = ExportRequest(ExportSpec("SELECT 1"), notify=notify)
        record = store.create(request, ANN, api=api, active_max=99, queue_max=99)[0]
        if name == "queued":
            return record
        store.claim(record.id, attempts_max=1)
        if name == "failed":
            return store.move(record.id, "failed")
        receipt = sink.put(name, (part for part in (b"rows",)))
        result = Result(name, "text/csv", 1, 4, receipt.sha256, receipt.location)
        return store.move(record.id, "completed", result=result, expires_at=clock.now + 7 * DAY_S)

    waiting = {"webhook": "https://example.com/hook"}  # its receiver has not been notified yet
    retained = [job("queued"), job("failed"), job("native", "native"), job("notifies", **waiting)]
    old = job("old")
    store.move(job("expired").id, "expired")
    clock.now += 1.0
    younger = job("younger")
    clock.now += 899.0
    forget(store, {"local": sink}, "queue")
    assert {record.id for record in store.page(ANN)} == {record.id for record in [*retained, younger]}
    assert sink.names() == ["native", "notifies", "younger"]
    assert store.happened({old.id: 0})[old.id].status is None
    assert old.id in {line["export_id"] for line in store.audit_page()}
    clock.now += 1.0
    forget(store, {"local": sink}, "queue")
    assert younger.id not in {record.id for record in store.page(ANN)}


def test_an_expired_file_that_cannot_be_deleted_does_not_block_others(
    store: JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MemorySink()
    for name in ("gone", "local"):
        request = ExportRequest(ExportSpec("SELECT 1", store=name))
        record = store.create(request, ANN, api="native", active_max=9, queue_max=9)[0]
        store.claim(record.id, attempts_max=1)
        receipt = sink.put(name, (part for part in (b"rows",)))
        result = Result("rows.csv", "text/csv", 1, 4, receipt.sha256, receipt.location)
        store.move(record.id, "completed", result=result, expires_at=0.0)
    expire(store, {"local": sink})
    assert sink.names() == ["gone"]
    assert any("'gone' is no longer configured" in line.getMessage() for line in caplog.records)
