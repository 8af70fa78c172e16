"""What operators see of the running service: metrics, health, logs, the page of the API, shutdown."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from fault_proxy import Fault, FaultProxy
from fluxport.samples import create_sample
from fluxport.telemetry import traces
from service_support import SECRET, Client, emulator, service

ROWS = 50_000
USERS = {"source": {"query": "SELECT id, name, email, created_at, score FROM users ORDER BY id"}}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operations")


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[str]:
    with emulator(folder, ROWS) as url:
        yield url


@pytest.fixture(scope="module")
def client(folder: Path, database: str) -> Iterator[Client]:
    with service(folder, database) as running:
        yield running


def ended(client: Client, export_id: str) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = client.get(f"/v1/exports/{export_id}").json()
        if job["status"] not in ("queued", "running"):
            return job
        time.sleep(0.05)


def samples(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.plain_get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def lines(folder: Path, words: str = "serve") -> list[dict[str, Any]]:
    """The log of the service and of its worker."""
    text = "".join(file.read_text() for file in sorted(folder.glob(f"{words}-*.log")))
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


# -- metrics -----------------------------------------------------------------------------------------------------------


def test_metrics_count_what_workers_did_and_what_the_service_refused(client: Client) -> None:
    before = samples(client)
    job = ended(client, client.post("/v1/exports", USERS | {"format": "xlsx"}).json()["id"])
    assert client.post("/v1/stream", USERS).status_code == 200
    assert client.post("/v1/exports", {"source": {"query": "DROP TABLE users"}}).status_code == 400
    failed = ended(client, client.post("/v1/exports", {"source": {"query": "SELECT nothing FROM users"}}).json()["id"])
    after = samples(client)

    def risen(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after[key] - before.get(key, 0.0)

    assert risen("export_records_processed_total") == 2 * ROWS
    assert risen("fluxport_bytes_total") > job["bytes"]
    assert risen("export_duration_seconds_count") == 3
    assert risen("export_upload_duration_seconds_count") == 1
    assert risen("export_errors_total", code=failed["error"]["code"]) == 1
    assert risen("fluxport_first_byte_seconds_count") == 1
    assert risen("fluxport_rows_per_second_count", format="xlsx", source="main") == 1
    assert any(name == "fluxport_refusals_total" and risen(name, **dict(labels)) for name, labels in after)
    assert risen("fluxport_http_requests_total", method="POST", route="/v1/stream", status="200") == 1
    assert after["export_queued_tasks", ()] == after["export_active_tasks", ()] == 0


def test_no_metric_has_an_id_or_anything_that_a_caller_chose(client: Client) -> None:
    export_id = client.post("/v1/exports", USERS).json()["id"]
    ended(client, export_id)
    client.get("/v1/exports/chosen-by-a-caller")
    client.plain_get("/chosen-by-a-caller")
    httpx.request("CHOSEN", f"{client.base}/v1/exports")
    text = client.plain_get("/metrics").text
    assert export_id not in text
    assert "chosen" not in text.lower()
    assert 'route="/v1/exports/{export_id}"' in text


@pytest.mark.parametrize("headers", [{"X-Forwarded-For": "203.0.113.9"}, {"Host": "fluxport.example.com"}])
def test_metrics_are_local_unless_configured(client: Client, headers: dict[str, str]) -> None:
    assert client.plain_get("/metrics").status_code == 200
    assert client.plain_get("/metrics", headers).status_code == 404


@pytest.mark.parametrize(("setting", "status"), [("on", 200), ("off", 404)])
def test_metrics_can_be_for_everyone_or_no_one(tmp_path: Path, database: str, setting: str, status: int) -> None:
    (tmp_path / "fluxport.yaml").write_text(f"server: {{metrics: {setting}}}\n")
    with service(tmp_path, database, "--no-worker") as client:
        assert client.plain_get("/metrics", {"X-Forwarded-For": "203.0.113.9"}).status_code == status


# -- health ------------------------------------------------------------------------------------------------------------


def test_readiness_names_what_cannot_be_used_and_only_the_log_has_the_reason(tmp_path: Path) -> None:
    with service(tmp_path, "mysql://somebody:hidden@127.0.0.1:1/shop", "--no-worker") as client:
        answer = client.plain_get("/health/ready")
        assert client.plain_get("/health/live").json() == {"status": "ok"}
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable",
        "queue": "ok",
        "database": "ok",
        "workers": "ok",
        "clock": "ok",
        "connection main": "unavailable",
        "store local": "ok",
    }
    [said] = [line for line in lines(tmp_path) if line["component"] == "fluxport.ready"]
    assert said["event"].startswith("connection main cannot be used: ")
    assert said["error_code"] == "source_unreachable"


def test_what_is_tried_for_readiness_leaves_nothing_in_the_store(client: Client, folder: Path) -> None:
    assert client.plain_get("/health/ready").status_code == 200
    assert [p.name for p in (folder / "exports").iterdir() if "ready" in p.name] == []


def test_while_it_drains_a_stream_goes_on_and_new_work_is_refused(tmp_path: Path, database: str) -> None:
    with FaultProxy(database, "slow", 500_000, slow_bytes_s=2_000_000) as slow:
        with service(tmp_path, slow.url, "--no-worker", FLUXPORT_SERVER__GRACE_S="30") as client:
            got: list[httpx.Response] = []
            stream = threading.Thread(target=lambda: got.append(client.post("/v1/stream", USERS)))
            stream.start()
            assert slow.faulted.wait(60)
            os.kill(client.pid, signal.SIGTERM)
            deadline = time.monotonic() + 60
            while (ready := client.plain_get("/health/ready")).status_code == 200 and time.monotonic() < deadline:
                time.sleep(0.02)
            refused = client.post("/v1/exports", USERS)
            live = client.plain_get("/health/live")
            stream.join()
    assert (ready.status_code, ready.json()) == (503, {"status": "unavailable", "queue": "unavailable"})
    assert (refused.status_code, refused.json()["code"]) == (503, "closing")
    assert "retry-after" in refused.headers
    assert live.status_code == 200
    assert got[0].content.count(b"\n") == ROWS + 1


# -- a stream that cannot be completed ---------------------------------------------------------------------------------


def raw_answer(client: Client, body: dict[str, Any]) -> bytes:
    """Everything that the service sends for one request until it closes the connection."""
    data = json.dumps(body).encode()
    headers = client.headers("POST", "/v1/stream", data) | {"Host": "127.0.0.1", "Content-Length": str(len(data))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.sendall(f"POST /v1/stream HTTP/1.1\r\n{head}\r\n".encode() + data)
        parts = []
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(1 << 16):
                parts.append(part)
        return b"".join(parts)


@pytest.mark.parametrize("fault", ["rst", "fin"])
def test_a_stream_cut_off_by_its_database_has_no_final_chunk_and_one_line_in_the_log(
    tmp_path: Path, database: str, fault: Fault
) -> None:
    with FaultProxy(database, fault, 1_500_000) as cut, service(tmp_path, cut.url, "--no-worker") as client:
        answer = raw_answer(client, USERS)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding: chunked" in answer.lower()
    assert b"id,name,email,created_at,score\n" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    text = "".join(file.read_text() for file in tmp_path.glob("serve-*.log"))
    assert "Traceback" not in text
    assert '"exception"' not in text
    broken = [line for line in lines(tmp_path) if line["component"] == "uvicorn.error" and line["level"] == "warning"]
    assert [line["event"] for line in broken] == ["a response was aborted before its end"]
    assert broken[0]["error_code"] == "source_lost"
    assert [line["level"] for line in lines(tmp_path) if line["level"] == "error"] == []


# -- logs --------------------------------------------------------------------------------------------------------------


def test_every_line_of_one_request_has_its_ids_the_worker_s_included(client: Client, folder: Path) -> None:
    given = {"X-Request-Id": "asked-by-a-test", "traceparent": TRACEPARENT}
    export_id = client.post("/v1/exports", USERS, headers=given).json()["id"]
    ended(client, export_id)
    requests = [line for line in lines(folder) if line.get("request_id") == "asked-by-a-test"]
    events = {line["event"]: line for line in requests}
    stored = {"TaskCreated", "TaskQueued", "TaskStarted", "OSSUploadCompleted", "TaskCompleted"}
    assert set(events) == {"POST /v1/exports", *stored}
    assert all(line["trace_id"] == TRACE for line in requests)
    assert events["POST /v1/exports"]["status"] == 202
    done = events["TaskCompleted"]
    assert done["message"] == "export completed"
    assert (done["task_id"], done["rows"]) == (export_id, ROWS)
    for line in requests:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
        assert line["level"] == "info"
        assert line.get("duration_ms", 0) >= 0


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        f"00-{TRACE}-0000000000000000-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01-more",
        'x"}\n{"level":"forged"',
    ],
)
def test_an_invalid_traceparent_is_ignored(traceparent: str) -> None:
    assert traces.accepted(traceparent) == ""
    assert traces.trace_id("") == ""
    assert traces.accepted(TRACEPARENT) == traces.accepted(f"01-{TRACE}-00f067aa0ba902b7-01-more") == TRACEPARENT
    assert traces.trace_id(TRACEPARENT) == TRACE


@pytest.mark.parametrize("style", ["json", "text"])
def test_no_log_has_a_secret_a_token_a_link_a_value_or_sql(tmp_path: Path, database: str, style: str) -> None:
    marks = ["Sesame-password", "literal-of-a-caller", "body-of-a-caller", "name-of-a-caller"]
    with FaultProxy(database, "rst", 3_000_000) as cut:
        settings = {"FLUXPORT_LOGGING__LEVEL": "debug", "FLUXPORT_LOGGING__FORMAT": style}
        with service(tmp_path, cut.url, **settings) as client:
            httpx.post(f"{client.base}/session", json={"user": marks[3], "password": marks[0]})
            stranger = Client(client.base, client.pid, secret=marks[0] * 3)
            assert stranger.post("/v1/exports", USERS).status_code == 401
            client.plain_get("/v1/exports/x", {"Authorization": f"Bearer {marks[0]}"})
            client.post("/v1/stream", f'{{"body-of-a-caller": {marks[2]}'.encode())
            client.post("/v1/stream", {"source": {"query": f"SELECT nothing FROM users WHERE name = '{marks[1]}'"}})
            client.post("/v1/stream", {"source": {"query": f"SELEKT '{marks[1]}'"}})
            job = ended(
                client,
                client.post(
                    "/v1/exports", {"source": {"query": f"SELECT '{marks[1]}' AS a, name FROM users LIMIT 9"}}
                ).json()["id"],
            )
            file = client.plain_get(job["download"]["url"])
            values = [line.split(b",")[1].decode() for line in file.content.splitlines()[1:]]
            raw_answer(client, USERS)
            token = job["download"]["url"].split("token=")[1]
            signature = client.headers("GET", "/x")["X-Signature"][3:]
    text = "".join(file.read_text() for file in tmp_path.glob("*.log"))
    assert "/v1/exports" in text
    assert len(values) == 9
    for secret in (
        *marks,
        SECRET,
        token,
        token[:20],
        signature,
        "token=",
        "SELECT",
        "SELEKT",
        "fluxport:fluxport",
        *values,
    ):
        assert secret not in text, secret


# -- the page of the API -----------------------------------------------------------------------------------------------


def test_the_page_of_the_api_has_every_route_and_needs_nothing_from_anywhere(client: Client) -> None:
    answer = client.plain_get("/docs")
    described = client.plain_get("/openapi.json").json()
    assert answer.status_code == 200
    assert all(path in answer.text for path in described["paths"])
    assert "<script" not in answer.text
    first, *others = re.findall(r'(?:src|href)="(.*?)"', answer.text)
    assert first == "openapi.json"
    assert {link.removeprefix("#") for link in others} <= set(re.findall(r'id="(.*?)"', answer.text))
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.plain_get("/redoc").status_code == 404


@pytest.mark.parametrize(
    ("given", "local", "elsewhere"),
    [
        ({}, True, True),
        ({"APP_ENV": "production"}, True, False),
        ({"FLUXPORT_SERVER__DETAILS": "off"}, False, False),
        ({"APP_ENV": "production", "FLUXPORT_SERVER__DETAILS": "on"}, True, True),
    ],
)
def test_details_of_the_service_are_visible_as_configured(
    tmp_path: Path, given: dict[str, str], local: bool, elsewhere: bool
) -> None:
    """The description of the API, counts of all users' exports, names of connections and stores, gRPC's reflection."""
    create_sample(tmp_path / "rows.db", 50, ("ann",))
    secret = {"API_SECRET": "kX3vQ9w-72LmTzR0aYbN8uJdPf5hGsEc1oViWq6ClZk", "FLUXPORT_GRPC__PORT": "0"}
    with service(tmp_path, f"sqlite:///{tmp_path / 'rows.db'}", **given, **secret) as client:
        for headers, seen in (({}, local), ({"X-Forwarded-For": "203.0.113.9"}, elsewhere)):
            for path in ("/docs", "/openapi.json", "/api/health"):
                assert client.plain_get(path, headers).status_code == (200 if seen else 404), path
            ready = client.plain_get("/health/ready", headers)
            assert ready.status_code in (200, 503)  # whether its worker is there already
            assert ("connection main" in ready.text) == seen
        target = re.search(r"gRPC at (\S+)", next(tmp_path.glob("serve-*.log")).read_text())
        assert target
        with grpc.insecure_channel(target[1]) as channel:
            requested = reflection_pb2.ServerReflectionRequest(list_services="")
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
            answers = stub.ServerReflectionInfo(iter([requested]), timeout=60)
            if elsewhere:
                assert next(answers).list_services_response.service
            else:
                with pytest.raises(grpc.RpcError) as refused:
                    next(answers)
                assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
