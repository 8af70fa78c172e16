"""Every parameter of every route with unsuitable values: a status below 500, and each refusal in the service's error
format, with a code, the id of the request, and no internals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

import fluxport
from fluxport.samples import create_sample
from identity_support import new_key
from service_support import Client, service

CANARY = "c4n4ry-0f-4-s3cret"
VALUES = (
    "",
    "abc",
    "-1",
    "0",
    "1.5",
    "1e99",
    "9" * 30,
    "9" * 5000,
    "%00",
    "a%00b",
    "%ff%fe",
    "%ED%A0%80",
    "null",
    "[]",
    "{}",
    "true",
    "%F0%9F%8C%8D",
    "'; --",
    "..%2F..%2Fetc%2Fpasswd",
    "%0d%0aX-Injected:%201",
    "NaN",
    "-0",
    "٣",
)
# Of routes that read their query themselves.
READ = {
    "/v1/exports": ("status", "limit", "starting_after"),
    "/jobs": ("id",),
    "/api/exports/jobs": ("requestId",),
    "/api/exports/jobs/{export_id}/download": ("token",),
    "/api/exports/stream": ("type", "format", "selectedColumns", "limit", "status"),
    "/v1/exports/{export_id}/file": ("token",),
    "/v1/sensors": ("search", "limit", "starting_after"),
    "/v1/sensors/{sensor_id}/points": ("start_ts", "end_ts", "max_points"),
    "/api/v1/query": ("sensor_id", "start_ts", "end_ts", "max_points"),
    "/api/v1/export": (
        "sensor_id",
        "start_ts",
        "end_ts",
        "format",
        "layout",
        "aggregate",
        "interval",
        "time",
        "profile",
        "timezone",
        "locale",
    ),
}
NEEDED = {
    "/api/v1/query": "sensor_id=A&start_ts=0&end_ts=9",
    "/api/v1/export": "sensor_id=A&start_ts=0&end_ts=9",
    "/api/exports/stream": "type=trades",
}
HEADERS = (
    "Last-Event-ID",
    "Idempotency-Key",
    "Range",
    "Accept",
    "Content-Type",
    "X-Request-Id",
    "traceparent",
    "Authorization",
    "Cookie",
    "X-Timestamp",
    "If-Range",
    "X-Forwarded-For",
    "Forwarded",
)
BODIES = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"1",
    b'"a"',
    b"\xff",
    b"\xed\xa0\x80",
    b'"\\ud800"',
    b'{"source": null}',
    b'{"source": {"query": 1}}',
    b'{"a": 1, "a": 2}',
    b'{"source": {"query": "SELECT 1", "query": "SELECT 2"}}',
    b"[" * 100_000,
    b'{"source": {"query": "SELECT 1"}, "options": {"limit": NaN}}',
    b"1" * 6000,
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("parameters")
    create_sample(folder / "rows.db", 50, ("ann",))
    url = f"sqlite:///{folder / 'rows.db'}"
    settings = {
        "FLUXPORT_SERIES__PATH": "series.db",
        "FLUXPORT_LIMITS__REQUESTS_PER_MINUTE": "1000000",
        "FLUXPORT_LIMITS__ACTIVE_MAX": "100000",
        "FLUXPORT_LIMITS__QUEUE_MAX": "100000",
        "FLUXPORT_EMAIL__PASSWORD": CANARY,
    }
    (folder / "fluxport.yaml").write_text(json.dumps({"sample": "journal", "connections": {"journal": {"url": url}}}))
    with service(folder, url, "--no-worker", **settings) as running:
        token = new_key(folder, "all", "ann", "sql:*", "dataset:*", "series", "push", "admin")
        yield running, {"Authorization": f"Bearer {token}"}


def looked_at(answer: httpx.Response, path: str, case: object) -> None:
    assert answer.status_code < 500, (path, case, answer.status_code, answer.text)
    for word in ("Traceback", str(Path(fluxport.__file__).parent), CANARY):
        assert word not in answer.text + repr(answer.headers), (path, case)
    assert "x-injected" not in answer.headers, (path, case)
    if answer.status_code < 400 or answer.request.method == "HEAD":
        return
    assert answer.headers["x-request-id"], (path, case)
    reported: Any = answer.json()
    if path in ("/export", "/jobs"):
        assert set(reported) == {"error", "code"}, (path, case, reported)
    elif path == "/api/health" or path.startswith("/api/exports/"):
        assert reported["data"] is None, (path, case, reported)
        assert set(reported["error"]) == {"code", "message"}, (path, case, reported)
    else:
        assert answer.headers["content-type"] == "application/problem+json", (path, case)
        assert reported["status"] == answer.status_code
        assert reported["request_id"] == answer.headers["x-request-id"]
        assert reported["code"]
        assert reported["detail"].endswith("."), (path, case, reported)


def routes(client: Client) -> list[tuple[str, str, dict[str, Any]]]:
    paths = httpx.get(client.base + "/openapi.json").json()["paths"]
    return [
        (path, method.upper(), operation) for path, methods in paths.items() for method, operation in methods.items()
    ]


def filled(path: str, value: str = "A") -> str:
    return "/".join(value if part.startswith("{") else part for part in path.split("/"))


def test_every_parameter_of_every_route_with_what_it_is_not_for(client: tuple[Client, dict[str, str]]) -> None:
    running, key = client
    with httpx.Client(base_url=running.base, headers=key, timeout=60) as http:
        for path, method, operation in routes(running):
            assert "ValidationError" not in json.dumps(operation)  # FastAPI's own answer, which we do not give
            declared = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
            targets = []
            for name in {*declared, *READ.get(path, ())}:
                needed = "&".join(w for w in NEEDED.get(path, "").split("&") if w and not w.startswith(f"{name}="))
                targets += [f"{filled(path)}?{needed}&{name}={value}" for value in VALUES]
                targets.append(f"{filled(path)}?{needed}&{name}=1&{name}=2")
            if "{" in path:
                targets += [filled(path, value) for value in VALUES if value]
            for target in targets:
                looked_at(http.request(method, target), path, target[:200])


def test_typed_parameters_are_refused_by_name(client: tuple[Client, dict[str, str]]) -> None:
    running, key = client
    for target, name in (
        ("/v1/exports?limit=abc", "limit"),
        ("/v1/audit?limit=x", "limit"),
        ("/v1/audit?before=", "before"),
    ):
        answer = httpx.get(running.base + target, headers=key)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter")
        assert repr(name) in answer.json()["detail"]


def test_headers_and_bodies_with_what_they_are_not_for(client: tuple[Client, dict[str, str]]) -> None:
    running, key = client
    values = ("", "abc", "-1", "9" * 400, "\xff", 'a,b;c="', "bytes=9-1", "bytes=0-0,2-3", "Bearer fxp_x")
    with httpx.Client(base_url=running.base, timeout=60) as http:
        for path, method, _ in routes(running):
            for name in HEADERS:
                for value in values:
                    headers = {**key, name: value.encode("latin-1")}
                    looked_at(http.request(method, filled(path), headers=headers), path, (name, value))  # type: ignore[arg-type]  # header values as bytes
            if method in ("POST", "PUT"):
                for body in BODIES:
                    answer = http.request(method, filled(path), headers=key, content=body)
                    looked_at(answer, path, body[:80])


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "BREW", "PUT"])
def test_other_methods_and_addresses_are_answered_alike(client: tuple[Client, dict[str, str]], method: str) -> None:
    running, key = client
    for path, _, _ in routes(running):
        looked_at(httpx.request(method, running.base + filled(path), headers=key), path, method)
    for path in ("/nothing", "/v1/nothing", "/v1/exports/", "/" + quote("é")):
        looked_at(httpx.request(method, running.base + path, headers=key), path, method)


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/v1/stream", b'{"source": {"query": "SELECT 1", "query": "SELECT 2"}}'),
        ("POST", "/v1/exports", b'{"source": {"query": "SELECT 1"}, "source": {"query": "SELECT 2"}}'),
        ("POST", "/v1/preview", b'{"source": {"query": "SELECT 1"}, "format": "csv", "format": "json"}'),
        ("POST", "/export", b'{"query": "SELECT 1", "query": "SELECT 2"}'),
        ("POST", "/api/exports/jobs", b'{"type": "trades", "params": {"status": "a", "status": "b"}}'),
        ("POST", "/session", b'{"user": "a", "user": "b", "password": "c"}'),
        ("PUT", "/v1/sensors/A", b'{"name": "a", "name": "b"}'),
        ("POST", "/v1/sensors/A/points", b'{"timestamp_ms": 1, "value": 1, "value": 2}'),
    ],
)
def test_a_key_twice_in_json_is_400_wherever_json_is_read(
    client: tuple[Client, dict[str, str]], method: str, target: str, body: bytes
) -> None:
    running, key = client
    headers = key | {"X-Requested-With": "fluxport"}
    answer = httpx.request(method, running.base + target, headers=headers, content=body)
    assert answer.status_code == 400
    assert "same key twice" in answer.text


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/v1/stream", b'{"source": {"query": "SELECT ? AS a", "params": [1e999]}}'),
        ("POST", "/v1/preview", b'{"source": {"query": "SELECT :a AS a", "params": {"a": -1e999}}}'),
        ("POST", "/v1/sensors/A/points", b'{"timestamp_ms": 1, "value": 1e999}'),
    ],
)
def test_a_number_in_json_that_no_double_holds_is_400_and_not_infinity(
    client: tuple[Client, dict[str, str]], method: str, target: str, body: bytes
) -> None:
    running, key = client
    answer = httpx.request(method, running.base + target, headers=key, content=body)
    assert (answer.status_code, "no double holds" in answer.text) == (400, True), answer.text


@pytest.mark.parametrize(
    "body",
    [b"timestamp_ms,value,\xff\n1,2,3\n", b"\xfftimestamp_ms,value\n1,2\n", b"timestamp_ms,value,value\n1,2,3\n"],
)
def test_points_with_an_invalid_header_are_400(client: tuple[Client, dict[str, str]], body: bytes) -> None:
    running, key = client
    headers = key | {"Content-Type": "text/csv"}
    answer = httpx.post(running.base + "/v1/sensors/A/points", headers=headers, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_points")


def test_no_route_reveals_why_a_connection_a_store_or_the_service_s_own_database_fails(tmp_path: Path) -> None:
    """A code and a sentence, without a password, a path or a stack trace."""
    (tmp_path / "exports").write_text("no folder any more")
    settings = {
        "FLUXPORT_STORES__LOCAL__TYPE": "memory",
        "FLUXPORT_STORES__OTHER": f"{{type: sftp, host: 127.0.0.1, port: 1, user: u, password: {CANARY}, path: /x}}",
    }
    with service(tmp_path, f"mysql://root:{CANARY}@127.0.0.1:1/x", "--no-worker", **settings) as running:
        token = new_key(tmp_path, "all", "ann", "sql:*", "dataset:*", "series", "push", "admin")
        key = {"Authorization": f"Bearer {token}"}
        known = routes(running)
        body = b'{"source": {"query": "SELECT 1 AS a"}, "store": "other"}'

        def ask(times: str) -> None:
            for path, method, _ in known:
                answer = httpx.request(method, running.base + filled(path), headers=key, content=body, timeout=60)
                for word in ("Traceback", str(Path(fluxport.__file__).parent), str(tmp_path), CANARY, "sqlite"):
                    assert word not in answer.text + repr(answer.headers), (path, times)
                if answer.status_code >= 400 and path != "/health/ready":
                    assert "code" in answer.text, (path, times, answer.text)

        ask("with connections and stores that are away")
        for name in ("fluxport.db", "fluxport.db-wal", "fluxport.db.signatures"):
            (tmp_path / name).write_bytes(b"this is no database, " * 4000)
        ask("with a database that is none")
    assert CANARY not in next(tmp_path.glob("serve-*.log")).read_text()
