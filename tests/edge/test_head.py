"""HEAD: every GET route answers it with the same status and headers and without a body, and it starts, redeems and
records nothing."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from mysql_support import wait_until
from services import require_program
from whole_service import RANGE, Whole, get_targets, routes, whole_service

STREAMS = (f"/api/v1/export?{RANGE}&format=xlsx", "/api/exports/stream?type=trades&format=csv")
# The moment is in them, or what is counted since the last request, or that GET redeems a one-time link.
VOLATILE = {"x-request-id", "date", "content-disposition", "x-export-id", "transfer-encoding"}
VOLATILE |= {"x-download-session", "set-cookie"}
# What they say changes from one request to the next: a stream or a download is recorded behind its last byte.
COUNTING = {"/metrics", "/api/health", "/v1/audit", "/v1/exports"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole_service(tmp_path_factory.mktemp("head")) as running:
        yield running


@pytest.fixture(scope="module")
def job(whole: Whole) -> dict[str, Any]:
    return whole.export()


@pytest.mark.parametrize("flags", [{}, {"export_queue.enabled": False}], ids=["all", "without the Export queue"])
def test_every_route_that_takes_get_takes_head(tmp_path: Path, flags: dict[str, Any]) -> None:
    found = [(path, methods) for path, methods in routes(tmp_path, **flags) if "GET" in methods]
    assert {"/", "/health/live", "/metrics", "/openapi.json", "/jobs", "/v1/exports"} < {path for path, _ in found}
    assert [path for path, methods in found if "HEAD" not in methods] == []


def test_head_answers_what_get_answers_without_the_body(whole: Whole, job: dict[str, Any], tmp_path: Path) -> None:
    for path, target in get_targets(whole, job, tmp_path).items():
        head = whole.http.head(target)
        with whole.http.stream("GET", target) as got:
            assert (head.status_code, head.content) == (got.status_code, b""), path
            assert got.status_code == 200, (path, got.read())
            ignored = VOLATILE | ({"content-length"} if path in COUNTING else set())
            expected = {name: value for name, value in got.headers.items() if name not in ignored}
            assert {name: value for name, value in head.headers.items() if name not in ignored} == expected, path


def test_head_is_refused_as_get_is(whole: Whole) -> None:
    for target in (
        "/v1/exports/none",
        "/v1/exports/none/events",
        "/api/v1/export?sensor_id=none&start_ts=1&end_ts=2",
        "/api/v1/export?format=pdf",
        "/api/exports/stream?type=none",
        "/nothing",
    ):
        head, got = whole.http.head(target), whole.http.get(target)
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.status_code >= 400
    assert httpx.head(whole.base + "/v1/exports").status_code == 401
    assert "HEAD" in httpx.delete(whole.base + "/health/live").headers["Allow"]


def listed(whole: Whole) -> list[dict[str, Any]]:
    """The exports without their links, which differ in each response."""
    found: list[dict[str, Any]] = whole.http.get("/v1/exports").json()["data"]
    return [export | {"download": None} for export in found]


@pytest.mark.parametrize("target", STREAMS)
def test_head_of_a_stream_begins_no_export(whole: Whole, target: str) -> None:
    # What other tests have streamed has ended, so that nothing but this request could change the lists.
    assert wait_until(lambda: not {"queued", "running"} & {e["status"] for e in listed(whole)}, 30)
    exports, audit = listed(whole), whole.http.get("/v1/audit").json()
    answer = whole.http.head(target)
    assert answer.status_code == 200
    assert "attachment" in answer.headers["content-disposition"]
    assert "x-export-id" not in answer.headers
    assert listed(whole) == exports
    assert whole.http.get("/v1/audit").json() == audit


def test_head_of_events_ends_at_once_while_the_export_runs(whole: Whole) -> None:
    """For a queued export, GET would wait until it ends."""
    body = {"source": {"query": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"}}
    body["source"]["connection"] = "journal"
    waiting = whole.http.post("/v1/exports", json=body)
    assert waiting.status_code == 202, waiting.text
    export_id = waiting.json()["id"]
    answer = whole.http.head(f"/v1/exports/{export_id}/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert whole.http.get(f"/v1/exports/{export_id}").json()["status"] in ("queued", "running")
    assert whole.http.delete(f"/v1/exports/{export_id}").json()["status"] == "canceled"


def test_head_redeems_no_one_time_link(whole: Whole, job: dict[str, Any]) -> None:
    once = whole.link(job["id"], one_time=True)
    for headers in ({}, {"Accept": "text/html"}, {"Range": "bytes=0-"}):
        assert httpx.head(once, headers=headers).status_code in (200, 206)
    head = httpx.head(once)
    got = httpx.get(once)
    assert got.status_code == 200
    assert int(head.headers["content-length"]) == len(got.content) == job["files"][0]["bytes"]
    assert head.headers["etag"] == got.headers["etag"] == f'"{job["files"][0]["sha256"]}"'
    assert (httpx.head(once).status_code, httpx.get(once).status_code) == (410, 410)


def test_head_of_several_files_has_no_length_that_is_not_the_zip_s(whole: Whole) -> None:
    several = whole.export(options={"max_rows_per_file": 200})
    url = whole.link(several["id"])
    head = httpx.head(url)
    assert head.headers["content-type"] == "application/zip"
    assert "content-length" not in head.headers
    assert int(httpx.head(f"{url}&part=1").headers["content-length"]) == several["files"][0]["bytes"]


def test_a_number_that_no_file_has_is_not_found(whole: Whole) -> None:
    several = whole.export(options={"max_rows_per_file": 200})
    for number in ("0", str(len(several["files"]) + 1), "0000000019", "1" * 5000, "\u0661", "x", ""):
        answer = httpx.get(f"{whole.link(several['id'])}&part={quote(number)}")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_part"), number


def test_programs_of_load_balancers_are_answered(whole: Whole) -> None:
    url = whole.base + "/health/live"
    require_program("curl")
    require_program("wget")
    curl = subprocess.run(["curl", "-sfI", "--http1.1", url], capture_output=True, timeout=60, check=True)
    assert curl.stdout.startswith(b"HTTP/1.1 200")
    old = subprocess.run(["curl", "-sfI", "--http1.0", url], capture_output=True, timeout=60, check=True)
    assert b"content-length: 15" in old.stdout.lower()
    wget = subprocess.run(["wget", "-S", "--spider", url], capture_output=True, timeout=60, check=True)
    assert b"200 OK" in wget.stderr
    # As the export middleware's container is probed, by name; -q prints nothing, so the exit code is the answer.
    probe = ["wget", "--spider", "-q", url.replace("127.0.0.1", "localhost")]
    assert subprocess.run(probe, timeout=60, check=False).returncode == 0
    assert subprocess.run([*probe[:-1], whole.base + "/nothing"], timeout=60, check=False).returncode != 0


def test_head_of_http_1_0_ends_with_its_headers(whole: Whole, job: dict[str, Any]) -> None:
    host, port = whole.base.removeprefix("http://").split(":")
    targets = {"/health/live": b"content-length: 15", STREAMS[0]: b"x-request-id"}
    targets[whole.link(job["id"]).removeprefix(whole.base)] = f"content-length: {job['files'][0]['bytes']}".encode()
    for target, header in targets.items():
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            request = f"HEAD {target} HTTP/1.0\r\nAuthorization: Bearer {whole.key}\r\n\r\n"
            connection.sendall(request.encode())
            answer = b"".join(iter(lambda c=connection: c.recv(65536), b""))  # type: ignore[misc]  # mypy infers no lambda with defaults
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split(b" ")[1] == b"200", answer
        assert header in head.lower()
        assert body == b""
