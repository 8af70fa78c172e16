"""FluxQuery's clients as they are: they sign by the second, repeat themselves, and poll unsigned."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from fluxport.auth.signing import sign_v1
from service_support import SECRET, Client, emulator, service

ROWS = 5_000
REQUESTS, AT_ONCE, POLL_S = 100, 50, 0.5
BODY = json.dumps(
    {"query": "SELECT id, name, created_at FROM users LIMIT 2000", "email": "load@example.com", "format": "csv"}
).encode()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("fluxquery")
    with emulator(folder, ROWS) as url, service(folder, url) as running:
        yield running


def request(client: Client, body: bytes, timestamp: int) -> httpx.Response:
    headers = sign_v1(SECRET, "POST", "/export", body, timestamp)
    return httpx.post(client.base + "/export", content=body, headers=headers, timeout=60)


def ended(client: Client, job_id: str) -> str:
    while True:
        answer = httpx.get(client.base + "/jobs", params={"id": job_id}, timeout=60)
        if (status := str(answer.json()["status"])) in ("COMPLETED", "FAILED"):
            return status
        time.sleep(POLL_S)


@pytest.mark.slow
def test_the_load_of_its_benchmark_succeeds_and_runs_each_signed_request_once(client: Client) -> None:
    def one(_: int) -> tuple[int, str, str]:
        timestamp = int(time.time())
        answer = request(client, BODY, timestamp)
        assert answer.status_code == 202, answer.text
        job_id = str(answer.json()["job_id"])
        return timestamp, job_id, ended(client, job_id)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(one, range(REQUESTS)))
    assert {status for _, _, status in results} == {"COMPLETED"}
    assert len({(timestamp, job_id) for timestamp, job_id, _ in results}) == len({when for when, _, _ in results})
    details = client.get(f"/jobs?id={results[0][1]}", version=1).json()
    assert details["rows"] == 2000


def test_a_hundred_different_requests_at_once_are_accepted(client: Client) -> None:
    bodies = [json.dumps({"query": f"SELECT {n} AS n FROM users LIMIT 10"}).encode() for n in range(REQUESTS)]
    now = int(time.time())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda body: request(client, body, now), bodies))
    assert {answer.status_code for answer in answers} == {202}
    ids = {answer.json()["job_id"] for answer in answers}
    assert len(ids) == REQUESTS
    assert {ended(client, job_id) for job_id in ids} == {"COMPLETED"}


def test_an_identical_request_has_the_same_job_also_after_its_end(client: Client) -> None:
    body = json.dumps({"query": "SELECT 1 AS one"}).encode()
    now = int(time.time())
    first = request(client, body, now).json()["job_id"]
    assert ended(client, first) == "COMPLETED"
    again = request(client, body, now)
    assert (again.status_code, again.json()) == (202, {"job_id": first})
    assert request(client, body, now + 1).json()["job_id"] != first
    other = json.dumps({"query": "SELECT 2 AS one"}).encode()
    assert request(client, other, now).json()["job_id"] != first


@pytest.mark.parametrize(("target", "version"), [("/jobs", 1), ("/jobs", 2), ("/v1/exports", 2)])
def test_no_other_signature_is_accepted_twice(client: Client, target: str, version: int) -> None:
    created = client.post("/export", {"query": f"SELECT {version} AS version"}, version=2).json()["job_id"]
    full = f"{target}?id={created}" if target == "/jobs" else target
    headers = client.headers("GET", full, version=version)
    first, second = (client.plain_get(full, headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 401)
    assert second.json()["code"] == "replayed"


def test_a_request_that_was_refused_may_be_sent_again_as_it_is(client: Client) -> None:
    body = json.dumps({"query": "SELECT 1", "format": "pdf"}).encode()
    now = int(time.time())
    assert [request(client, body, now).status_code for _ in range(2)] == [400, 400]


@pytest.mark.parametrize("other", ["Basic YTpi", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", ""])
@pytest.mark.parametrize("version", [1, 2])
def test_a_signature_decides_beside_credentials_of_another_system(client: Client, other: str, version: int) -> None:
    body = json.dumps({"query": f"SELECT {version} AS signed, {len(other)} AS other"}).encode()
    headers = client.headers("POST", "/export", body, version=version) | {"Authorization": other}
    created = httpx.post(client.base + "/export", content=body, headers=headers)
    assert created.status_code == 202, created.text
    details = f"/jobs?id={created.json()['job_id']}"
    headers = client.headers("GET", details) | {"Authorization": other}
    assert client.plain_get(details, headers).status_code == 200


def test_one_of_our_keys_decides_beside_a_signature(client: Client) -> None:
    body = json.dumps({"query": "SELECT 1"}).encode()
    wrong = {"Authorization": "Bearer fxp_aaaaaaaaaaaa_" + "a" * 43}
    headers = client.headers("POST", "/export", body, version=1) | wrong
    assert httpx.post(client.base + "/export", content=body, headers=headers).status_code == 401
