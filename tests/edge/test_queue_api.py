"""The API of the Export queue's clients: routes, envelope, words and numbers."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest
import sqlalchemy as sa

from fluxport import wiring
from fluxport.auth.caller import Caller
from fluxport.auth.tokens import download_token
from fluxport.config import load
from fluxport.errors import NotFound
from fluxport.jobs.request import ExportRequest
from fluxport.samples import create_sample
from fluxport.spec import ExportSpec
from fluxport.tables import exports, transaction
from fluxport.testing.sources import wait_until
from journal_service import TRADES, calling_as, download, error_of, finished_job, journal_service, queued_job
from service_support import Client, children
from webhook_receiver import receiving, status

JOBS = "/api/exports/jobs"
COLUMNS = {
    "trades": "id instrumentId direction entryPrice exitPrice quantity status entryAt exitAt realizedPnl tags",
    "goals": "id type period targetValue currentValue startDate endDate achievedAt windowDays",
    "dailyPnl": "date pnl",
    "tagPerformance": "tagId label trades wins losses winRate sumPnl avgPnl",
}
FIELDS = {
    "id", "type", "format", "status", "createdAt", "startedAt", "completedAt", "error", "filename", "downloadToken",
    "tokenExpiresAt", "tokenConsumed", "requestId", "attemptCount", "rows", "total", "percent",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("queue")


@pytest.fixture(scope="module")
def ann(folder: Path) -> Iterator[Client]:
    with journal_service(folder) as running:
        finished_job(running, queued_job(running, {"type": "goals", "format": "csv"})["id"])  # the worker is there
        yield running


@pytest.fixture(scope="module")
def done(ann: Client) -> dict[str, Any]:
    """A completed job of all trades, whose token is unused."""
    return finished_job(ann, queued_job(ann, {"type": "trades", "format": "csv"})["id"])


def sql(folder: Path, statement: str, *values: Any) -> list[Any]:
    connection = sqlite3.connect(folder / "journal.db")
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


def table(content: bytes, form: str) -> list[dict[str, Any]]:
    """The rows of a file, by a third-party reader."""
    if form == "csv":
        return list(csv.DictReader(io.StringIO(content.decode())))
    if form == "json":
        rows: list[dict[str, Any]] = json.loads(content)
        return rows
    sheet = openpyxl.load_workbook(io.BytesIO(content)).worksheets[0]
    head, *lines = sheet.iter_rows(values_only=True)
    return [dict(zip(map(str, head), line, strict=True)) for line in lines]


@pytest.mark.parametrize("form", ["csv", "json", "xlsx"])
@pytest.mark.parametrize("kind", list(COLUMNS))
def test_every_type_comes_in_every_format(ann: Client, kind: str, form: str) -> None:
    job = finished_job(ann, queued_job(ann, {"type": kind, "format": form, "params": {"limit": 7}})["id"])
    assert (job["status"], job["type"], job["format"], job["error"]) == ("completed", kind, form, None)
    assert job["filename"].startswith(f"{kind}-")
    assert job["filename"].endswith(f".{form}")
    rows = table(download(ann, job).content, form)
    assert len(rows) == job["rows"] == 7
    assert " ".join(rows[0]) == COLUMNS[kind]


def test_a_job_is_in_the_envelope_with_every_field_and_times_in_milliseconds(ann: Client, done: dict[str, Any]) -> None:
    answer = ann.post(JOBS, {"type": "goals", "format": "csv", "params": {}})
    assert answer.status_code == 202
    assert answer.json().keys() == {"data", "error"}
    queued = answer.json()["data"]
    assert queued.keys() == done.keys() == FIELDS
    assert queued["status"] == "queued"
    assert re.fullmatch("[0-9a-f]{32}", queued["downloadToken"])
    assert queued["tokenExpiresAt"] is None
    now = time.time() * 1000
    assert now - 120_000 < done["createdAt"] <= done["startedAt"] <= done["completedAt"] < now + 1000
    assert done["attemptCount"] == 1
    assert [queued["total"], queued["percent"], done["total"], done["percent"]] == [None, None, TRADES, 100.0]
    assert finished_job(ann, queued["id"])["downloadToken"] == queued["downloadToken"]


def test_twelve_thousand_trades_are_not_cut_and_are_ordered_by_entry(
    ann: Client, folder: Path, done: dict[str, Any]
) -> None:
    rows = table(ann.get("/api/exports/stream?type=trades&format=csv").content, "csv")
    expected = sql(folder, "SELECT id FROM trades WHERE user_id = 'ann' ORDER BY entry_at DESC, id DESC")
    assert [row["id"] for row in rows] == [row[0] for row in expected]
    assert len(rows) == done["rows"] == TRADES


def test_the_stream_is_the_very_file_without_a_line_of_its_own(ann: Client, done: dict[str, Any]) -> None:
    streamed = ann.get("/api/exports/stream?type=trades&format=csv")
    assert streamed.headers["content-type"].startswith("text/csv")
    job = finished_job(ann, queued_job(ann, {"type": "trades", "format": "csv"})["id"])
    assert streamed.content == download(ann, job).content
    assert not any(line.startswith("#") for line in streamed.text.splitlines())


def test_date_to_holds_the_whole_of_its_own_day(ann: Client, folder: Path) -> None:
    day = sql(folder, "SELECT date(max(entry_at)) FROM trades WHERE user_id = 'ann'")[0][0]
    body = {"type": "trades", "format": "json", "params": {"dateFrom": day, "dateTo": day}}
    rows = table(download(ann, finished_job(ann, queued_job(ann, body)["id"])).content, "json")
    following = str(date.fromisoformat(day) + timedelta(days=1))
    count = "SELECT count(*) FROM trades WHERE user_id = 'ann' AND entry_at >= ? AND entry_at < ?"
    assert len(rows) == sql(folder, count, day, following)[0][0] > 0
    assert {row["entryAt"][:10] for row in rows} == {day}


@pytest.mark.parametrize(
    ("query", "where", "values"),
    [
        ("status=OPEN", "status = ?", ["OPEN"]),
        ("direction=SHORT&instrumentId=sap-de", "direction = ? AND instrument_id = ?", ["SHORT", "sap-de"]),
        ("dateFrom=2025-03-01&dateTo=", "entry_at >= ?", ["2025-03-01"]),
        (
            "tagIds=tag-01-01,tag-01-02",
            "EXISTS (SELECT 1 FROM trade_tags x WHERE x.trade_id = trades.id AND x.tag_id IN (?, ?))",
            ["tag-01-01", "tag-01-02"],
        ),
        (
            "tagIds=tag-01-01&tagIds=tag-01-03&status=CLOSED",
            "status = 'CLOSED' AND EXISTS "
            "(SELECT 1 FROM trade_tags x WHERE x.trade_id = trades.id AND x.tag_id IN (?, ?))",
            ["tag-01-01", "tag-01-03"],
        ),
    ],
)
def test_filters_are_joined_by_and(ann: Client, folder: Path, query: str, where: str, values: list[str]) -> None:
    rows = table(ann.get(f"/api/exports/stream?type=trades&format=csv&{query}").content, "csv")
    count = sql(folder, f"SELECT count(*) FROM trades WHERE user_id = 'ann' AND {where}", *values)[0][0]
    assert 0 < len(rows) == count < TRADES


def test_columns_are_picked_in_the_requested_order(ann: Client) -> None:
    answer = ann.get("/api/exports/stream?type=trades&format=csv&limit=2&selectedColumns=status,id")
    assert [list(row) for row in table(answer.content, "csv")] == [["status", "id"]] * 2
    body = {"type": "dailyPnl", "format": "json", "params": {"limit": 1, "selectedColumns": ["pnl"]}}
    job = finished_job(ann, queued_job(ann, body)["id"])
    assert [list(row) for row in table(download(ann, job).content, "json")] == [["pnl"]]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"type": "users", "format": "csv"}, "INVALID_TYPE"),
        ({"format": "csv"}, "INVALID_TYPE"),
        ({"type": "trades", "format": "pdf"}, "INVALID_FORMAT"),
        ({"type": "trades", "format": ["csv"]}, "INVALID_FORMAT"),
        ({"type": "trades", "params": {"status": "WON"}}, "BAD_FILTER"),
        ({"type": "trades", "params": {"dateFrom": "yesterday"}}, "BAD_FILTER"),
        ({"type": "trades", "params": {"statsu": "OPEN"}}, "UNKNOWN_FILTER"),
        ({"type": "trades", "params": {"selectedColumns": ["pnl"]}}, "UNKNOWN_COLUMN"),
        ({"type": "trades", "params": ["x"]}, "BAD_BODY"),
        ({"type": "trades", "requestId": "a b"}, "BAD_BODY"),
        ({"type": "trades", "formt": "csv"}, "UNKNOWN_KEY"),
        ({"type": "trades", "notify": {"email": "ann@example.com"}}, "BAD_NOTIFY"),
        ({"type": "trades", "notify": {"webhook": "https://127.0.0.1/"}}, "WEBHOOK_NOT_PUBLIC"),
        ({"type": "trades", "count": "yes"}, "BAD_BODY"),
        ({"type": "trades", "priority": "high"}, "UNKNOWN_KEY"),
        ([], "BAD_BODY"),
        (b"{", "BAD_JSON"),
    ],
)
def test_what_cannot_be_exported_is_400_before_anything_is_queued(ann: Client, body: Any, code: str) -> None:
    assert error_of(ann.post(JOBS, body)) == (400, code)


def test_the_stream_refuses_as_the_queue_does(ann: Client) -> None:
    assert error_of(ann.get("/api/exports/stream?type=users")) == (400, "INVALID_TYPE")
    assert error_of(ann.get("/api/exports/stream?type=trades&format=pdf")) == (400, "INVALID_FORMAT")
    assert error_of(ann.get("/api/exports/stream?type=trades&type=goals")) == (400, "INVALID_TYPE")


def test_no_request_without_a_key_succeeds(ann: Client, done: dict[str, Any]) -> None:
    one = f"{JOBS}/{done['id']}"
    for target in (JOBS, one, f"{one}/download?token={done['downloadToken']}", "/api/exports/stream?type=trades"):
        assert error_of(ann.plain_get(target)) == (401, "UNAUTHORIZED")
    for target in (JOBS, f"{one}/token"):
        assert error_of(httpx.post(ann.base + target)) == (401, "UNAUTHORIZED")


def test_a_key_without_the_scope_of_the_type_is_403(ann: Client) -> None:
    eve = calling_as(ann, "eve")
    assert error_of(eve.post(JOBS, {"type": "trades"})) == (403, "MISSING_SCOPE")
    assert error_of(eve.get("/api/exports/stream?type=trades")) == (403, "MISSING_SCOPE")
    assert error_of(eve.post(JOBS, {"type": "nothing"})) == (
        403,
        "MISSING_SCOPE",
    )  # for unknown ones, too


def test_jobs_of_others_are_404_everywhere_and_rows_are_ones_own(ann: Client, done: dict[str, Any]) -> None:
    bob = calling_as(ann, "bob")
    one = f"{JOBS}/{done['id']}"
    missing = (404, "NOT_FOUND")
    assert error_of(bob.get(one)) == missing == error_of(bob.get(f"{JOBS}/nothing"))
    assert error_of(bob.get(f"{one}/download?token={done['downloadToken']}")) == missing
    assert error_of(bob.post(f"{one}/token", {})) == missing
    assert done["id"] not in {job["id"] for job in bob.get(JOBS).json()["data"]}
    mine, theirs = (
        {row["id"] for row in table(caller.get("/api/exports/stream?type=trades").content, "csv")}
        for caller in (ann, bob)
    )
    assert len(mine) == len(theirs) == TRADES
    assert not mine & theirs


def test_exports_of_another_api_are_not_jobs_here(ann: Client) -> None:
    export_id = ann.post("/v1/exports", {"source": {"dataset": "goals"}}).json()["id"]
    assert error_of(ann.get(f"{JOBS}/{export_id}")) == (404, "NOT_FOUND")
    while ann.get(f"/v1/exports/{export_id}").json()["status"] in ("queued", "running"):
        time.sleep(0.02)


def test_a_token_lasts_ten_minutes_from_the_end_works_once_and_can_be_renewed(ann: Client) -> None:
    job = finished_job(ann, queued_job(ann, {"type": "goals", "format": "csv"})["id"])
    assert job["tokenConsumed"] is False
    assert 598_000 < job["tokenExpiresAt"] - job["completedAt"] <= 600_000
    assert error_of(download(ann, job, "")) == (403, "INVALID_TOKEN")
    assert error_of(download(ann, job, job["downloadToken"][:-1])) == (403, "INVALID_TOKEN")
    assert download(ann, job).status_code == 200
    assert error_of(download(ann, job)) == (410, "TOKEN_USED")
    assert ann.get(f"{JOBS}/{job['id']}").json()["data"]["tokenConsumed"] is True
    renewed = ann.post(f"{JOBS}/{job['id']}/token", {}).json()["data"]
    assert renewed["tokenConsumed"] is False
    assert renewed["tokenExpiresAt"] > job["tokenExpiresAt"]
    assert error_of(download(ann, job)) == (410, "TOKEN_USED")
    assert download(ann, renewed).status_code == 200


def test_a_renewed_token_ends_the_one_before(ann: Client) -> None:
    job = finished_job(ann, queued_job(ann, {"type": "goals", "format": "csv"})["id"])
    renewed = ann.post(f"{JOBS}/{job['id']}/token", {}).json()["data"]
    assert error_of(download(ann, job)) == (410, "TOKEN_USED")
    assert download(ann, renewed).status_code == 200


def test_a_token_is_of_one_job(ann: Client, done: dict[str, Any]) -> None:
    job = finished_job(ann, queued_job(ann, {"type": "goals", "format": "csv"})["id"])
    assert error_of(download(ann, job, done["downloadToken"])) == (403, "INVALID_TOKEN")


def test_a_part_of_the_file_uses_the_token_up_for_others(ann: Client) -> None:
    job = finished_job(ann, queued_job(ann, {"type": "trades", "format": "csv"})["id"])
    target = f"{JOBS}/{job['id']}/download?token={job['downloadToken']}"
    part = httpx.get(ann.base + target, headers=ann.headers("GET", target) | {"Range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100)
    assert ann.get(f"{JOBS}/{job['id']}").json()["data"]["tokenConsumed"] is True
    assert error_of(download(ann, job)) == (410, "TOKEN_USED")


def test_the_requests_of_the_old_page_and_its_tests(ann: Client) -> None:
    """It keeps the token of the first answer, polls the list, downloads, and is refused the second time."""
    answer = ann.post(JOBS, {"type": "trades", "format": "csv", "params": {"status": "OPEN"}})
    assert answer.status_code == 202
    job, token = answer.json()["data"], answer.json()["data"]["downloadToken"]
    listed: dict[str, Any] = {}
    while listed.get("status") != "completed":
        (listed,) = [each for each in ann.get(JOBS).json()["data"] if each["id"] == job["id"]]
    assert (listed["downloadToken"], listed["tokenConsumed"]) == (token, False)
    file = download(ann, job, token)
    assert (file.status_code, len(table(file.content, "csv"))) == (200, listed["rows"])
    assert error_of(download(ann, job, token)) == (410, "TOKEN_USED")


def test_a_token_of_the_version_before_is_valid_until_its_second(ann: Client, folder: Path) -> None:
    job = finished_job(ann, queued_job(ann, {"type": "goals", "format": "csv"})["id"])
    older = older_token(folder, job)
    assert error_of(download(ann, job, older[:-1])) == (403, "INVALID_TOKEN")
    assert download(ann, job, older).status_code == 200
    assert error_of(download(ann, job, older)) == (410, "TOKEN_USED")
    ann.post(f"{JOBS}/{job['id']}/token", {})
    later = finished_job(ann, queued_job(ann, {"type": "goals", "format": "csv"})["id"])
    replaced = older_token(folder, later)
    ann.post(f"{JOBS}/{later['id']}/token", {})
    assert error_of(download(ann, later, replaced)) == (403, "INVALID_TOKEN")


def older_token(folder: Path, job: dict[str, Any]) -> str:
    secret = load(folder / "fluxport.yaml", environ={}).auth.download_secret
    assert secret is not None
    until_s = job["tokenExpiresAt"] // 1000
    return download_token(secret.get_secret_value().encode(), job["id"], job["filename"], until_s, "once")


def test_the_events_of_a_job_end_with_the_job(ann: Client) -> None:
    job = finished_job(ann, queued_job(ann, {"type": "trades", "format": "csv"})["id"])
    target = f"{JOBS}/{job['id']}/events"
    whole = ann.get(target)
    assert whole.headers["content-type"].startswith("text/event-stream")
    *progress, last = events_of(whole.text)
    assert [event["id"] for event in [*progress, last]] == [str(n) for n in range(1, len(progress) + 2)]
    assert {event["event"] for event in progress} <= {"progress"}
    assert last["event"] == "completed"
    assert json.loads(last["data"]) == {"data": job, "error": None}
    headers = ann.headers("GET", target) | {"Last-Event-ID": last["id"]}
    assert ann.plain_get(target, headers).text == ""
    assert error_of(calling_as(ann, "bob").get(target)) == (404, "NOT_FOUND")
    assert error_of(ann.plain_get(target)) == (401, "UNAUTHORIZED")
    assert error_of(ann.plain_get(target, ann.headers("GET", target) | {"Last-Event-ID": "x"})) == (400, "BAD_EVENT_ID")


def events_of(text: str) -> list[dict[str, str]]:
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.strip().split("\n\n")]


def test_events_arrive_while_the_job_waits_and_tell_that_it_was_canceled(tmp_path: Path) -> None:
    with journal_service(tmp_path, 10, server={"grace_s": 1}) as ann:
        finished_job(ann, queued_job(ann, {"type": "goals", "format": "csv"})["id"])  # the worker is there
        with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            job = queued_job(ann, {"type": "trades", "format": "csv"})
            target = f"{JOBS}/{job['id']}/events"
            with httpx.stream("GET", ann.base + target, headers=ann.headers("GET", target), timeout=60) as following:
                canceled = f"/v1/exports/{job['id']}"
                httpx.delete(ann.base + canceled, headers=ann.headers("DELETE", canceled))
                last = events_of(following.read().decode())[-1]
        shown = json.loads(last["data"])["data"]
        assert (last["event"], shown["id"], shown["status"]) == ("failed", job["id"], "failed")
        assert [shown["downloadToken"], shown["tokenExpiresAt"], shown["error"]] == [
            None,
            None,
            "The export was canceled.",
        ]


def test_a_job_notifies_and_counts_as_a_native_export_does(tmp_path: Path) -> None:
    with receiving(status(200)) as receiver:
        webhooks = {"allow": ["127.0.0.1"], "http_allowed": True}
        with journal_service(tmp_path, 10, webhooks=webhooks) as ann:
            target = f"http://127.0.0.1:{receiver.port}/hook"
            body = {"type": "goals", "format": "csv", "notify": {"webhook": target}, "count": True}
            job = finished_job(ann, queued_job(ann, body)["id"])
            assert wait_until(lambda: receiver.requests, 60)
            with closing(sqlite3.connect(tmp_path / "fluxport.db")) as database:
                assert database.execute("SELECT counted FROM exports WHERE id = ?", [job["id"]]).fetchone() == (1,)
    (told,) = [json.loads(request.body) for request in receiver.requests]
    assert (told["type"], told["data"]["id"]) == ("export.completed", job["id"])


@pytest.mark.parametrize("persist", [True, False])
def test_without_persistence_a_completed_job_is_forgotten_and_with_it_not(tmp_path: Path, persist: bool) -> None:
    create_sample(tmp_path / "journal.db", 1, ("ann",))
    settings = {
        "connections.journal.url": f"sqlite:///{tmp_path / 'journal.db'}",
        "database": f"sqlite:///{tmp_path}/fluxport.db",
        "stores.local.path": str(tmp_path),
        "export_queue.persist": persist,
    }
    made = wiring.service(load(environ={}, folder=tmp_path, flags=settings))
    with closing(made):
        store, request = made.exports.store, ExportRequest(ExportSpec(dataset="goals"))
        record, _ = store.create(request, Caller("ann"), api="queue", active_max=1, queue_max=1)
        store.claim(record.id, attempts_max=1)
        store.move(record.id, "completed", expires_at=store.clock() + 3600)
        with transaction(store.engine) as connection:
            connection.execute(sa.update(exports).values(finished_at=store.clock() - 901))
        assert (made.forget is None) is persist
        if made.forget is not None:
            made.forget()
            with pytest.raises(NotFound):
                store.get(record.id)
        made.sweep()
        assert persist is bool(store.page(Caller("ann", person=True)))


def test_the_list_is_newest_first_and_can_be_filtered_by_request(ann: Client) -> None:
    first = queued_job(ann, {"type": "goals", "format": "csv", "requestId": "one.request"})
    second = queued_job(ann, {"type": "goals", "format": "json"})
    finished_job(ann, second["id"])
    finished_job(ann, first["id"])
    assert [job["id"] for job in ann.get(JOBS).json()["data"]][:2] == [second["id"], first["id"]]
    found = ann.get(f"{JOBS}?requestId=one.request").json()["data"]
    assert [(job["id"], job["requestId"]) for job in found] == [(first["id"], "one.request")]
    assert ann.get(f"{JOBS}?requestId=another").json()["data"] == []


def test_health_has_the_measures_in_the_envelope(ann: Client, done: dict[str, Any]) -> None:
    answer = ann.plain_get("/api/health")
    reported = answer.json()["data"]["metrics"]["export"]
    assert answer.status_code == 200
    assert reported.keys() == {"mode", "queued", "processed", "failed", "running", "retried", "avgDurationMs"}
    assert reported["mode"] == "persistent"
    assert reported["processed"] > 0
    assert reported["avgDurationMs"] > 0


def test_a_sixth_active_job_is_429_a_file_before_its_end_409_and_an_expired_token_410(tmp_path: Path) -> None:
    """Exports wait while the database is locked."""
    with journal_service(tmp_path, 10, limits={"keep_s": 3600}, server={"grace_s": 1}) as ann:
        done = finished_job(ann, queued_job(ann, {"type": "goals", "format": "csv"})["id"])
        with sqlite3.connect(tmp_path / "fluxport.db") as database:
            database.execute("UPDATE exports SET finished_at = finished_at - 601")
        assert error_of(download(ann, done)) == (410, "TOKEN_EXPIRED")
        assert download(ann, ann.post(f"{JOBS}/{done['id']}/token", {}).json()["data"]).status_code == 200
        lock = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        try:
            jobs = [queued_job(ann, {"type": "trades", "format": "csv"}) for _ in range(5)]
            refused = ann.post(JOBS, {"type": "trades", "format": "csv"})
            assert error_of(refused) == (429, "RATE_LIMIT")
            assert int(refused.headers["retry-after"]) > 0
            assert error_of(download(ann, jobs[0], "x")) == (409, "NOT_READY")
            assert error_of(ann.post(f"{JOBS}/{jobs[0]['id']}/token", {})) == (409, "NOT_READY")
            assert calling_as(ann, "bob").post(JOBS, {"type": "goals"}).status_code == 202
        finally:
            lock.execute("ROLLBACK")
            lock.close()


def test_the_disabled_api_is_501_and_health_reports_it(tmp_path: Path) -> None:
    with journal_service(tmp_path, 1, export_queue={"enabled": False}) as ann:
        for method, target in (("POST", JOBS), ("GET", f"{JOBS}/x"), ("GET", "/api/exports/stream")):
            assert error_of(httpx.request(method, ann.base + target)) == (501, "DISABLED")
        assert ann.plain_get("/api/health").json()["data"]["metrics"]["export"]["mode"] == "disabled"
        assert ann.get("/v1/datasets").status_code == 200


def test_without_persistence_the_mode_is_memory_and_nothing_is_stored(tmp_path: Path) -> None:
    with journal_service(tmp_path, 10, export_queue={"persist": False}) as ann:
        assert ann.plain_get("/api/health").json()["data"]["metrics"]["export"]["mode"] == "memory"
        job = finished_job(ann, queued_job(ann, {"type": "trades", "format": "csv"})["id"])
        assert download(ann, job).status_code == 200
    assert not (tmp_path / "fluxport.db").exists()


@pytest.mark.slow
def test_a_service_without_persistence_forgets_by_itself(tmp_path: Path) -> None:
    with journal_service(tmp_path, 10, export_queue={"persist": False}) as ann:
        job = finished_job(ann, queued_job(ann, {"type": "trades", "format": "csv"})["id"])
        (worker,) = [child for child in children(ann.pid) if b"FLUXPORT_DATABASE" in environ_of(child)]
        url = next(word for word in environ_of(worker).split(b"\0") if word.startswith(b"FLUXPORT_DATABASE="))
        with closing(sqlite3.connect(url.decode().partition("sqlite:///")[2])) as database:
            database.execute("UPDATE exports SET finished_at = finished_at - 901")
            database.commit()
        assert any((tmp_path / "exports").rglob("*.csv"))
        assert wait_until(lambda: ann.get(f"{JOBS}/{job['id']}").status_code == 404, 60)
        assert wait_until(lambda: not any((tmp_path / "exports").rglob("*.csv")), 10)


def environ_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def test_in_development_a_local_caller_is_dev_if_configured(tmp_path: Path) -> None:
    with journal_service(tmp_path, 10, auth={"development_user": True}) as ann:
        plain = httpx.Client(base_url=ann.base)
        with plain:
            made = plain.post(JOBS, json={"type": "trades", "format": "csv"})
            assert made.status_code == 202
            assert made.json()["data"]["id"] in {job["id"] for job in plain.get(JOBS).json()["data"]}
            foreign = plain.post(JOBS, json={"type": "trades"}, headers={"Origin": "https://elsewhere.example"})
            assert error_of(foreign) == (403, "CROSS_SITE")
            proxied = plain.get(JOBS, headers={"X-Forwarded-For": "203.0.113.9"})
            assert error_of(proxied) == (401, "UNAUTHORIZED")
            assert error_of(plain.get(JOBS, headers={"Host": "evil.example"})) == (401, "UNAUTHORIZED")
            wrong = {"Authorization": f"Bearer fxp_{'a' * 12}_{'b' * 43}"}
            assert error_of(plain.get(JOBS, headers=wrong)) == (401, "UNAUTHORIZED")
            of_another_system = {"Authorization": "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x"}
            assert plain.get(JOBS, headers=of_another_system).status_code == 200
        assert ann.get(JOBS).json()["data"] == []
