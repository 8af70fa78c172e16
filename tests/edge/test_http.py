"""The running service over HTTP, in front of the emulator."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from fluxport import process
from fluxport.config import load
from fluxport.formats import FORMATS
from fluxport.formats.compress import COMPRESSIONS
from service_support import Client, emulator, service

ROWS = 20_000
USERS = {"source": {"query": "SELECT id, name, email, created_at, score FROM users ORDER BY id"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[str]:
    with emulator(folder, ROWS) as url:
        yield url


@pytest.fixture(scope="module")
def client(folder: Path, database: str) -> Iterator[Client]:
    with service(folder, database) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "compression"),
    [
        (name, packed)
        for name, entry in FORMATS.built_in.items()
        for packed in COMPRESSIONS.built_in
        if packed in ("none", "zip") or not entry.compresses_inside
    ],
)
def test_a_stream_is_the_file_and_its_record_has_the_proof(client: Client, name: str, compression: str) -> None:
    answer = client.post("/v1/stream", USERS | {"format": name, "compression": compression})
    assert answer.status_code == 200, answer.text
    reported = client.get(f"/v1/exports/{answer.headers['x-export-id']}").json()
    assert reported["status"] == "completed"
    assert reported["files"] == [
        {
            "name": reported["files"][0]["name"],
            "rows": ROWS,
            "bytes": len(answer.content),
            "sha256": hashlib.sha256(answer.content).hexdigest(),
            "verified": None,
        }
    ]
    assert reported["files"][0]["name"] in answer.headers["content-disposition"]


def test_an_export_of_the_older_api_is_stored_and_downloaded_with_its_proof(client: Client) -> None:
    answer = client.post(
        "/export", {"query": "SELECT * FROM users", "email": "a@example.com", "format": "json"}, version=1
    )
    assert answer.status_code == 202
    job_id = answer.json()["job_id"]
    reported = client.finished(job_id)
    assert (reported["status"], reported["rows"]) == ("COMPLETED", ROWS)
    file = client.plain_get(reported["download_url"])
    assert file.status_code == 200
    assert hashlib.sha256(file.content).hexdigest() == reported["sha256"]
    assert file.headers["etag"] == f'"{reported["sha256"]}"'
    assert file.headers["repr-digest"] == f"sha-256=:{base64.b64encode(bytes.fromhex(reported['sha256'])).decode()}:"
    assert file.headers["x-export-rows"] == str(ROWS)
    part = client.plain_get(reported["download_url"], {"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, file.content[10:20])


def test_the_status_word_needs_no_signature_and_reveals_nothing_else(client: Client) -> None:
    job_id = client.post("/export", {"query": "SELECT 1 AS a"}, version=1).json()["job_id"]
    client.finished(job_id)
    assert client.plain_get(f"/jobs?id={job_id}").json() == {"status": "COMPLETED"}


@pytest.mark.parametrize(
    "body",
    [
        {"query": "DROP TABLE users"},
        {"query": ""},
        {"query": "SELECT 1", "format": "pdf"},
        {"query": "SELECT 1", "email": "not an address"},
        {"query": "SELECT 1", "email": "a@b.c\r\nBcc: x@y.z"},
        {"query": "SELECT 1; SELECT 2"},
        [],
        b"{",
    ],
)
def test_a_bad_request_of_the_older_api_is_400_with_a_sentence(client: Client, body: object) -> None:
    answer = client.post("/export", body, version=1)
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".") or answer.json()["error"]


def test_a_signature_works_once(client: Client) -> None:
    body = json.dumps({"query": "SELECT 2 AS once"}).encode()
    headers = client.headers("POST", "/export", body, version=2)
    first = httpx.post(client.base + "/export", content=body, headers=headers)
    second = httpx.post(client.base + "/export", content=body, headers=headers)
    assert (first.status_code, second.status_code) == (202, 401)
    assert second.json()["code"] == "replayed"


def test_without_or_with_a_wrong_signature_everything_is_401(client: Client) -> None:
    stranger = Client(client.base, client.pid, secret="another-secret-of-the-right-length-987654321")
    for answer in (
        httpx.post(client.base + "/export", json={"query": "SELECT 1"}),
        httpx.post(client.base + "/v1/stream", json=USERS),
        stranger.post("/export", {"query": "SELECT 1"}, version=1),
        stranger.post("/v1/stream", USERS),
        stranger.get("/v1/exports/x"),
    ):
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (USERS | {"format": "pdf"}, 400, "unknown_format"),
        (USERS | {"options": {"colour": 1}}, 400, "unknown_option"),
        (USERS | {"options": {"profile": "word"}}, 400, "unknown_profile"),
        (USERS | {"options": {"profile": ["excel"]}}, 400, "unknown_profile"),
        (USERS | {"options": {"encoding": "utf-8\0"}}, 400, "bad_option"),
        (USERS | {"options": {"null_value": "\ud800"}}, 400, "bad_json"),
        (USERS | {"filename": "a\udfff"}, 400, "bad_json"),
        (USERS | {"sauce": 1}, 400, "unknown_key"),
        (USERS | {"compression": "rar"}, 400, None),
        (USERS | {"options": {"columns": ["nope"]}}, 400, None),
        ({"source": {"query": "SELECT nope FROM users"}}, 400, None),
        ({"source": {"query": "SELECT * FROM nowhere"}}, 400, None),
        ({"source": {"query": "SELEKT 1"}}, 400, None),
        ({"source": {"query": "SELECT 1", "connection": "other"}}, 400, "unknown_connection"),
        ({"source": {"query": "SELECT SLEEP(10)"}}, 400, None),
    ],
)
def test_a_refusal_is_a_problem_before_the_first_byte(
    client: Client, body: object, status: int, code: str | None
) -> None:
    answer = client.post("/v1/stream", body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    reported = answer.json()
    assert code in (None, reported["code"])
    assert reported["request_id"] == answer.headers["x-request-id"]


def test_unknown_addresses_and_ids_are_404_problems(client: Client) -> None:
    assert client.plain_get("/nowhere").status_code == 404
    assert client.get("/v1/exports/00000000-0000-0000-0000-000000000000").json()["code"] == "no_such_export"


def test_a_link_for_another_file_or_a_made_up_one_is_refused(client: Client) -> None:
    job_id = client.post("/export", {"query": "SELECT 1 AS link"}, version=1).json()["job_id"]
    url = client.finished(job_id)["download_url"]
    other = client.post("/export", {"query": "SELECT 2 AS a"}, version=1).json()["job_id"]
    client.finished(other)
    assert client.plain_get(url.replace(job_id, other)).status_code == 403
    assert client.plain_get(url[:-4] + "AAAA").status_code == 403
    assert client.plain_get(url.split("?")[0]).status_code == 403


def test_twenty_streams_at_once_are_all_whole(client: Client) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/stream", USERS), range(20)))
    assert {a.status_code for a in answers} == {200}
    assert len({hashlib.sha256(a.content).hexdigest() for a in answers}) == 1


def test_a_database_that_crashes_half_way_breaks_the_connection_and_fails_the_export(tmp_path: Path) -> None:
    """Many rows, so that most of them are outstanding when the database is killed."""
    from fault_proxy import FaultProxy

    with emulator(tmp_path, 500_000) as url, FaultProxy(url, "rst", 5_000_000) as through:
        with service(tmp_path, through.url) as client:
            body = json.dumps(USERS).encode()
            connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
            connection.request("POST", "/v1/stream", body, client.headers("POST", "/v1/stream", body))
            answer = connection.getresponse()
            assert answer.status == 200
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                while answer.read(1 << 20):
                    pass
            export_id = answer.headers["X-Export-Id"]
            answer.close()
            connection.close()
            reported = client.get(f"/v1/exports/{export_id}").json()
            assert reported["status"] == "failed"
            assert reported["error"]["code"] == "source_lost"
            job_id = client.post("/export", {"query": USERS["source"]["query"]}, version=1).json()["job_id"]
            stored = client.finished(job_id)
            assert (stored["status"], stored["error_code"]) == ("FAILED", "source_lost")
            assert list((tmp_path / "exports").iterdir()) == []


def test_a_client_that_leaves_ends_the_query(tmp_path: Path) -> None:
    with emulator(tmp_path, 1_000_000) as url, service(tmp_path, url) as client:
        body = json.dumps(USERS).encode()
        headers = client.headers("POST", "/v1/stream", body)
        with httpx.stream("POST", client.base + "/v1/stream", content=body, headers=headers) as answer:
            export_id = answer.headers["x-export-id"]
            next(answer.iter_raw())
        ended = threading.Event()
        for _ in range(100):
            reported = client.get(f"/v1/exports/{export_id}").json()
            if reported["status"] == "failed":
                ended.set()
                break
            time.sleep(0.05)
        assert ended.is_set()
        assert reported["error"]["code"] == "client_gone"


def test_health_reports_what_exists(client: Client) -> None:
    assert client.plain_get("/health/live").json() == {"status": "ok"}
    ready = client.plain_get("/health/ready")
    assert (ready.status_code, ready.json()["connection main"]) == (200, "ok")


def test_the_api_describes_itself(client: Client) -> None:
    paths = client.plain_get("/openapi.json").json()["paths"]
    assert {"/v1/stream", "/v1/exports/{export_id}", "/export", "/jobs"} <= set(paths)


def test_an_answer_in_two_writes_does_not_wait_for_an_acknowledgement() -> None:
    """Accepted sockets need TCP_NODELAY, which asyncio does not set on sockets without a protocol number."""
    config = load(environ={}, flags={"server.port": 0})
    with process.listen(config, "") as bound, socket.create_connection(bound.getsockname()):
        accepted, _ = bound.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
