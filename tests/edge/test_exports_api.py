"""The native API of stored exports: creation, events, cancellation, download."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from service_support import Client, emulator, service

ROWS = 20_000
USERS = {"source": {"query": "SELECT id, name, email FROM users ORDER BY id"}}
ENDLESS = {"source": {"query": "SELECT a.id, b.email FROM users a CROSS JOIN users b"}}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("service")
    with emulator(folder, ROWS) as url, service(folder, url) as running:
        ended(running, running.post("/v1/exports", USERS).json()["id"])  # the worker is there
        yield running


def ended(client: Client, export_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(f"/v1/exports/{export_id}").json()
        if job["status"] not in ("queued", "running"):
            return job
        time.sleep(0.02)
    raise AssertionError(job)


def running(client: Client, export_id: str) -> dict[str, Any]:
    """The job object once it has rows."""
    deadline = time.monotonic() + 60
    while not (job := client.get(f"/v1/exports/{export_id}").json())["rows"]:
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
    assert job["status"] == "running"
    return dict(job)


def cancel(client: Client, export_id: str) -> httpx.Response:
    target = f"/v1/exports/{export_id}"
    return httpx.delete(client.base + target, headers=client.headers("DELETE", target))


def test_an_export_goes_from_queued_to_a_file_with_its_proof(client: Client) -> None:
    answer = client.post("/v1/exports", USERS | {"format": "jsonl", "filename": "users-{date}"})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/exports/{answer.json()['id']}"
    job = ended(client, answer.json()["id"])
    assert (job["status"], job["rows"], job["percent"], job["attempts"]) == ("completed", ROWS, 100.0, 1)
    assert [c["name"] for c in job["columns"]] == ["id", "name", "email"]
    file = client.plain_get(job["download"]["url"])
    assert hashlib.sha256(file.content).hexdigest() == job["files"][0]["sha256"]
    assert job["files"][0]["name"].startswith("users-20")
    assert job["files"][0]["name"] in file.headers["content-disposition"]


def test_the_job_object_has_every_field_at_every_time(client: Client) -> None:
    queued = client.post("/v1/exports", USERS).json()
    done = ended(client, queued["id"])
    assert queued.keys() == done.keys()
    assert {"id", "status", "phase", "source", "format", "compression", "rows", "rows_total", "bytes", "percent",
            "eta_s", "files", "columns", "warnings", "truncated", "attempts", "error", "download", "created_at",
            "started_at", "finished_at", "expires_at", "request_id"} <= queued.keys()  # fmt: skip


def test_the_same_idempotency_key_and_body_is_the_same_export_and_another_body_is_refused(client: Client) -> None:
    headers = {"Idempotency-Key": "a-key-of-mine"}
    first = client.post("/v1/exports", USERS, headers=headers)
    again = client.post("/v1/exports", USERS, headers=headers)
    other = client.post("/v1/exports", USERS | {"format": "tsv"}, headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 422)
    assert first.json()["id"] == again.json()["id"]
    assert other.json()["code"] == "idempotency_mismatch"
    ended(client, first.json()["id"])


def test_the_list_is_newest_first_in_pages_and_by_status(client: Client) -> None:
    made = [ended(client, client.post("/v1/exports", USERS).json()["id"])["id"] for _ in range(3)]
    first = client.get("/v1/exports?limit=2").json()
    second = client.get(f"/v1/exports?limit=2&starting_after={first['data'][-1]['id']}").json()
    assert [job["id"] for job in first["data"] + second["data"]][:3] == made[::-1]
    assert first["has_more"] is True
    assert {job["status"] for job in client.get("/v1/exports?status=completed").json()["data"]} == {"completed"}
    assert client.get("/v1/exports?status=done").status_code == 400
    assert client.get("/v1/exports?limit=0").status_code == 400


def test_a_canceled_export_ends_its_query_and_leaves_nothing(client: Client) -> None:
    export_id = client.post("/v1/exports", ENDLESS).json()["id"]
    running(client, export_id)
    answer = cancel(client, export_id)
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert cancel(client, export_id).status_code == 409
    # The place it held is free again only once its query has ended.
    assert ended(client, client.post("/v1/exports", USERS).json()["id"])["status"] == "completed"


def test_a_percentage_is_shown_only_if_the_rows_were_counted(client: Client) -> None:
    slow = ENDLESS["source"]["query"]
    counted = {"source": {"query": f"{slow} WHERE a.id <= 2000"}, "options": {"limit": 30_000_000}, "count": True}
    request = {True: client.post("/v1/exports", counted), False: client.post("/v1/exports", ENDLESS)}
    found = {known: running(client, answer.json()["id"]) for known, answer in request.items()}
    for answer in request.values():
        cancel(client, answer.json()["id"])
    assert found[True]["rows_total"] == 30_000_000
    assert 0 < found[True]["percent"] < 100
    assert found[True]["eta_s"] > 0
    assert [found[False][key] for key in ("rows_total", "percent", "eta_s")] == [None, None, None]


def test_what_cannot_be_counted_is_exported_all_the_same(client: Client) -> None:
    twice = {"source": {"query": "SELECT id, id FROM users"}, "count": True}
    job = ended(client, client.post("/v1/exports", twice).json()["id"])
    assert (job["status"], job["rows"]) == ("completed", ROWS)


def test_of_ones_own_exports_that_wait_the_urgent_ones_go_first(client: Client) -> None:
    holding = [client.post("/v1/exports", ENDLESS).json()["id"] for _ in range(3)]
    for export_id in holding:
        running(client, export_id)
    low = client.post("/v1/exports", USERS | {"priority": "low"}).json()
    high = client.post("/v1/exports", USERS | {"priority": "high"}).json()
    cancel(client, holding[0])
    first, second = ended(client, high["id"]), ended(client, low["id"])
    for export_id in holding[1:]:
        cancel(client, export_id)
    assert (low["priority"], high["priority"]) == ("low", "high")
    assert first["started_at"] < second["started_at"]
    assert client.post("/v1/exports", USERS | {"priority": 9}).json()["code"] == "bad_priority"


def test_events_come_in_order_and_resume_where_the_client_left(client: Client) -> None:
    export_id = client.post("/v1/exports", USERS).json()["id"]
    ended(client, export_id)
    target = f"/v1/exports/{export_id}/events"
    whole = client.get(target).text
    numbers = [int(line[4:]) for line in whole.splitlines() if line.startswith("id: ")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert whole.splitlines()[-3] == "event: completed"
    rest = httpx.get(client.base + target, headers=client.headers("GET", target) | {"Last-Event-ID": str(numbers[-1])})
    assert rest.text == ""


def test_fifty_requests_at_once_never_give_a_sixth_active_export(client: Client) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/exports", ENDLESS), range(50)))
    accepted = [a.json()["id"] for a in answers if a.status_code == 202]
    try:
        assert len(accepted) == 5
        assert Counter(a.status_code for a in answers) == {202: 5, 429: 45}
        assert all(a.headers["retry-after"] for a in answers if a.status_code == 429)
    finally:
        for export_id in accepted:
            cancel(client, export_id)


def test_a_refused_export_is_reported_before_it_is_queued(client: Client) -> None:
    answer = client.post("/v1/exports", {"source": {"query": "SELECT SLEEP(1)"}})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_a_one_time_link_shows_a_browser_a_page_and_is_redeemed_by_its_button(client: Client) -> None:
    job = ended(client, client.post("/v1/exports", USERS).json()["id"])
    url = client.post(f"/v1/exports/{job['id']}/links", {"one_time": True}).json()["url"]
    browsing = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for _ in range(2):
        page = client.plain_get(url, browsing)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "form-action 'self'" in page.headers["content-security-policy"]
        assert job["files"][0]["name"] in page.text
    redeemed = httpx.post(url, headers=browsing, timeout=60)
    assert hashlib.sha256(redeemed.content).hexdigest() == job["files"][0]["sha256"]
    assert client.plain_get(url, browsing).json()["code"] == "link_used"
    assert httpx.post(url).status_code == 410
    own = browsing | {"Cookie": redeemed.headers["set-cookie"].partition(";")[0]}
    assert client.plain_get(url, own).headers["content-type"] == "text/html; charset=utf-8"
    assert httpx.post(url, headers=own, timeout=60).content == redeemed.content
    assert client.plain_get(job["download"]["url"], browsing).headers["content-type"] == "text/csv; charset=utf-8"


def test_if_range_and_etag_make_a_download_resumable(client: Client) -> None:
    job = ended(client, client.post("/v1/exports", USERS).json()["id"])
    url = job["download"]["url"]
    whole = client.plain_get(url)
    etag = whole.headers["etag"]
    same = client.plain_get(url, {"Range": "bytes=100-", "If-Range": etag})
    other = client.plain_get(url, {"Range": "bytes=100-", "If-Range": '"another"'})
    assert (same.status_code, same.content) == (206, whole.content[100:])
    assert (other.status_code, other.content) == (200, whole.content)
    assert client.plain_get(url, {"Range": f"bytes={len(whole.content)}-"}).status_code == 416


def test_a_stream_can_be_looked_at_but_has_no_file(client: Client) -> None:
    answer = client.post("/v1/stream", USERS)
    export_id = answer.headers["x-export-id"]
    assert client.post(f"/v1/exports/{export_id}/links", {}).json()["code"] == "not_stored"
    assert json.loads(client.get(f"/v1/exports/{export_id}").text)["download"] is None


def test_an_export_outlives_a_restart_of_the_service(tmp_path: Path) -> None:
    with emulator(tmp_path, 100) as url:
        with service(tmp_path, url) as first:
            job = ended(first, first.post("/v1/exports", USERS).json()["id"])
        with service(tmp_path, url) as second:
            again = second.get(f"/v1/exports/{job['id']}").json()
            assert again["files"] == job["files"]
            assert second.plain_get(again["download"]["url"]).status_code == 200
