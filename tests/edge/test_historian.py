"""The Historian's API and the native routes of sensors, at a running service."""

from __future__ import annotations

import concurrent.futures
import io
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import httpx
import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxport.grpc.historian_pb2 import SensorData
from fluxport.series import Points
from series_support import T0, csv_of, points, walk
from service_support import SECRET, Client, process, service

A = walk(30_000)
B = walk(300, step=100_000, seed=2)
END = int(A.ms[-1])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("historian")
    with service(folder, "", FLUXPORT_SERIES__PATH=str(folder / "series.db")) as running:
        assert send(running, "A", A).status_code == 200
        assert send(running, "plant/line 1", B).status_code == 200
        described = {"name": "Boiler", "unit": "°C", "attributes": {"desc": "Flow", "line": "3", "room": "B1"}}
        assert put(running, "A", described).status_code == 200
        yield running


def send(client: Client, sensor: str, found: Points) -> httpx.Response:
    table = pa.table(
        {"timestamp_ms": found.ms, "value": pa.array(found.values, from_pandas=True), "quality": found.quality}
    )
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    target = f"/v1/sensors/{sensor.replace(' ', '%20')}/points"
    return client.post(target, out.getvalue(), headers={"Content-Type": "application/vnd.apache.arrow.stream"})


def put(client: Client, sensor: str, body: Any) -> httpx.Response:
    data = json.dumps(body).encode()
    target = f"/v1/sensors/{sensor}"
    return httpx.put(client.base + target, content=data, headers=client.headers("PUT", target, data))


def export(client: Client, **query: Any) -> httpx.Response:
    """Request an export as the older dashboard does: without a key, from this machine."""
    return httpx.get(f"{client.base}/api/v1/export", params=query, timeout=60)


def test_the_file_is_the_range_byte_for_byte(client: Client) -> None:
    for first, last in [(0, 29_999), (1, 1), (8190, 16_390)]:
        start, end = int(A.ms[first]), int(A.ms[last])
        answer = export(client, sensor_id="A", start_ts=start, end_ts=end)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert f'filename="A_{start}_{end}.csv"' in answer.headers["content-disposition"]
        assert answer.content == csv_of(A[first : last + 1])


def test_an_empty_range_is_the_header_alone(client: Client) -> None:
    answer = export(client, sensor_id="A", start_ts=1, end_ts=2)
    assert (answer.status_code, answer.content) == (200, b"timestamp_ms,value,quality\n")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"sensor_id": "nobody", "start_ts": 1, "end_ts": 2}, 404, "no_such_sensor"),
        ({"sensor_id": "A", "start_ts": 3, "end_ts": 2}, 400, "bad_range"),
        ({"sensor_id": "A", "start_ts": "x", "end_ts": 2}, 400, "bad_range"),
        ({"sensor_id": "A", "start_ts": 3}, 400, "missing_parameter"),
        ({"start_ts": 3, "end_ts": 4}, 400, "missing_parameter"),
        ({"sensor_id": "A", "start_ts": 1, "end_ts": 2, "format": "pdf"}, 400, "unknown_format"),
        ({"sensor_id": "A", "start_ts": 1, "end_ts": 2, "aggregat": "avg"}, 400, "unknown_key"),
        ({"sensor_id": ["A", "nobody"], "start_ts": 1, "end_ts": 2}, 404, "no_such_sensor"),
    ],
)
def test_what_cannot_be_exported_is_reported_before_the_first_byte(
    client: Client, query: dict[str, Any], status: int, code: str
) -> None:
    answer = export(client, **query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_format_holds_the_same_points(client: Client, tmp_path: Path) -> None:
    expected = [
        (ms, None if value != value else value, quality)
        for ms, value, quality in zip(A.ms.tolist(), A.values.tolist(), A.quality.tolist(), strict=True)
    ]

    def fetched(name: str) -> bytes:
        return export(client, sensor_id="A", start_ts=T0, end_ts=END, format=name).content

    (tmp_path / "a.jsonl").write_bytes(fetched("jsonl"))
    read = duckdb.connect().execute("SELECT * FROM read_json(?)", [str(tmp_path / "a.jsonl")]).fetchall()
    assert [(ms, value, quality) for ms, value, quality in read] == expected
    table = pq.read_table(io.BytesIO(fetched("parquet")))
    assert [tuple(row.values()) for row in table.to_pylist()] == expected
    sheet = openpyxl.load_workbook(io.BytesIO(fetched("xlsx")), read_only=True).worksheets[0]
    rows = sheet.iter_rows(values_only=True)
    assert next(rows) == ("timestamp_ms", "value", "quality")
    for row, (ms, value, quality) in zip(rows, expected, strict=True):
        assert row[0] == ms
        assert row[2] == quality
        assert row[1] == value or row[1] == pytest.approx(value, rel=1e-15)


def test_several_sensors_come_in_one_file(client: Client) -> None:
    query = {"sensor_id": ["A", "plant/line 1"], "start_ts": T0, "end_ts": T0 + 200_000}
    lines = export(client, **query).text.splitlines()
    assert lines[0] == "sensor_id,timestamp_ms,value,quality"
    assert [line.split(",")[0] for line in lines[1:]] == ["A"] * 201 + ["plant/line 1"] * 3
    wide = export(client, **query, layout="wide", aggregate="max", interval="100s", time="datetime").text.splitlines()
    assert wide[0] == "timestamp,A,A_quality,plant/line 1,plant/line 1_quality"
    assert [line.split(",")[0] for line in wide[1:]] == [
        "2023-11-14T22:13:20.000Z",
        "2023-11-14T22:15:00.000Z",
        "2023-11-14T22:16:40.000Z",
    ]
    assert float(wide[1].split(",")[1]) == np.nanmax(A.values[:100])


def test_the_chart_gets_points_with_every_peak(client: Client) -> None:
    answer = httpx.get(f"{client.base}/api/v1/query", params={"sensor_id": "A", "start_ts": T0, "end_ts": END})
    found = answer.json()["points"]
    assert 900 <= len(found) <= 1000
    values = [point["value"] for point in found if point["value"] is not None]
    assert (min(values), max(values)) == (np.nanmin(A.values), np.nanmax(A.values))
    assert found[0]["timestamp"] == T0
    assert found[-1]["timestamp"] == END
    few = httpx.get(
        f"{client.base}/api/v1/query", params={"sensor_id": "A", "start_ts": T0, "end_ts": T0 + 5000, "max_points": 10}
    )
    assert [p["timestamp"] for p in few.json()["points"]] == [T0 + 1000 * n for n in range(6)]
    for query in ("sensor_id=A", "sensor_id=A&start_ts=1&end_ts=2&max_points=many"):
        assert httpx.get(f"{client.base}/api/v1/query?{query}").status_code == 400


@pytest.mark.parametrize(
    ("wanted", "most"),
    [
        ("1", 1),
        ("2", 2),
        ("3", 3),
        ("812.5", 812),
        ("0", 1000),
        ("-7", 1000),
        ("999999999999", 20_000),
        ("9" * 300, 20_000),
    ],
)
def test_a_chart_of_any_number_of_points_is_answered_with_at_most_as_many(
    client: Client, wanted: str, most: int
) -> None:
    query: dict[str, Any] = {"sensor_id": "A", "start_ts": T0, "end_ts": END, "max_points": wanted}
    found = httpx.get(f"{client.base}/api/v1/query", params=query).json()["points"]
    assert most // 2 < len(found) <= most
    times = A.ms.tolist()
    assert {point["timestamp"] for point in found} <= set(times)
    assert found[0]["timestamp"] == T0
    assert len(found) == 1 or found[-1]["timestamp"] == END


def test_the_dashboards_texts_of_a_sensor_are_its_attributes_and_never_absent(client: Client) -> None:
    listed = httpx.get(f"{client.base}/api/v1/metadata").json()["sensors"]
    texts = {
        sensor["id"]: {key: sensor[key] for key in ("desc", "type", "factory", "line", "machine", "unit")}
        for sensor in listed
    }
    empty = dict.fromkeys(("desc", "type", "factory", "line", "machine", "unit"), "")
    assert texts == {"A": empty | {"desc": "Flow", "line": "3", "unit": "°C"}, "plant/line 1": empty}


def test_attributes_are_replaced_together_and_stay_when_they_are_not_named(client: Client) -> None:
    for body, expected in (
        ({"attributes": {"type": "flow", "line": ""}}, {"type": "flow", "line": ""}),
        ({"unit": "l"}, {"type": "flow", "line": ""}),
        ({"attributes": {}}, {}),
    ):
        assert put(client, "described", body).json()["attributes"] == expected
    many = {str(n): "" for n in range(33)}
    wrong: tuple[Any, ...] = ([], {"a b": ""}, {"a": 1}, {"a": "x" * 201}, many)
    for attributes in wrong:
        assert put(client, "described", {"attributes": attributes}).status_code == 400
    for name in (1, {"a": 1}, "x" * 201):
        assert put(client, "described", {"name": name, "attributes": {"name": "ok"}}).status_code == 400


@pytest.mark.parametrize("header", ["Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", "Basic YTpi", "Token x", ""])
def test_credentials_of_another_system_close_no_open_api(client: Client, header: str) -> None:
    query: dict[str, Any] = {"sensor_id": "A", "start_ts": T0, "end_ts": END}
    for path in ("metadata", "query", "export"):
        answer = httpx.get(f"{client.base}/api/v1/{path}", params=query, headers={"Authorization": header})
        assert answer.status_code == 200
    created = client.post("/export", {"query": "SELECT 1"}, version=2)
    assert created.status_code == 400, "this service has no database"
    unknown = httpx.get(f"{client.base}/jobs?id=unknown", headers={"Authorization": header})
    assert unknown.status_code == 404
    for path in ("/v1/exports", "/api/exports/jobs"):
        assert httpx.get(client.base + path, headers={"Authorization": header}).status_code == 401


def test_a_wrong_key_of_this_service_is_refused_also_where_none_is_needed(client: Client) -> None:
    wrong = {"Authorization": f"Bearer fxp_{'a' * 12}_{'b' * 43}"}
    assert httpx.get(f"{client.base}/api/v1/metadata", headers=wrong).status_code == 401


def test_the_native_points_are_columns_and_show_whether_they_are_all(client: Client) -> None:
    reported = httpx.get(f"{client.base}/v1/sensors/plant/line%201/points").json()
    assert (reported["count"], reported["downsampled"]) == (300, False)
    assert reported["timestamp_ms"] == B.ms.tolist()
    assert reported["value"] == [None if value != value else value for value in B.values.tolist()]
    assert reported["quality"] == B.quality.tolist()


def test_sensors_are_listed_with_name_unit_and_range(client: Client) -> None:
    reported = httpx.get(f"{client.base}/v1/sensors", params={"search": "boil"}).json()
    assert reported["data"] == [
        {
            "id": "A",
            "name": "Boiler",
            "unit": "°C",
            "attributes": {"desc": "Flow", "line": "3", "room": "B1"},
            "first_ms": T0,
            "last_ms": END,
        }
    ]
    first = httpx.get(f"{client.base}/v1/sensors", params={"limit": 1}).json()
    assert first["has_more"] is True
    assert httpx.get(f"{client.base}/v1/sensors/A").json()["unit"] == "°C"
    old = httpx.get(f"{client.base}/api/v1/metadata").json()["sensors"]
    assert {"A", "plant/line 1"} <= {sensor["sensor_id"] for sensor in old}
    assert httpx.get(f"{client.base}/v1/sensors/nobody").status_code == 404


def test_points_of_every_form_are_there_once_answered(client: Client) -> None:
    for body, kind in [
        (b'{"points": [{"timestamp_ms": 1, "value": 0.1}]}', "application/json"),
        (b"timestamp_ms,value,quality\n2,0.2,0\n", "text/csv"),
        (SensorData(timestamp_ms=3, value=0.3).SerializeToString(), "application/x-protobuf"),
    ]:
        answer = client.post("/v1/sensors/forms/points", body, headers={"Content-Type": kind})
        assert answer.json() == {"accepted": 1}
    assert export(client, sensor_id="forms", start_ts=0, end_ts=9).content == csv_of(
        points([1, 2, 3], [0.1, 0.2, 0.3], [1, 0, 0])
    )
    bad = client.post("/v1/sensors/forms/points", b"[{}]", headers={"Content-Type": "application/json"})
    assert (bad.status_code, bad.json()["code"]) == (400, "bad_points")


def test_a_job_exports_sensors_as_any_other_source(client: Client) -> None:
    body = {"source": {"sensor_id": "A", "start_ts": T0, "end_ts": T0 + 9000}, "format": "csv"}
    job = client.post("/v1/exports", body).json()
    while job["status"] not in ("completed", "failed"):
        time.sleep(0.05)
        job = client.get(f"/v1/exports/{job['id']}").json()
    assert (job["status"], job["rows"], job["source"]) == ("completed", 10, body["source"])
    assert httpx.get(job["download"]["url"]).content == csv_of(A[:10])
    assert client.post("/v1/stream", body).content == csv_of(A[:10])
    assert client.post("/v1/preview", body).json()["rows"][0]["timestamp_ms"] == T0
    unknown = client.post("/v1/exports", {"source": {"sensor_id": "nobody"}})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "no_such_sensor")


def test_writing_takes_a_key_even_from_this_machine(client: Client) -> None:
    assert httpx.post(f"{client.base}/v1/sensors/A/points", content=b"[]").status_code == 401
    assert httpx.put(f"{client.base}/v1/sensors/A", content=b"{}").status_code == 401


def test_a_request_that_came_through_a_proxy_or_for_another_name_needs_a_key(client: Client) -> None:
    for headers in ({"X-Forwarded-For": "1.2.3.4"}, {"Host": "evil.example"}):
        for path in ("/v1/sensors", "/api/v1/metadata", "/api/v1/export?sensor_id=A&start_ts=1&end_ts=2"):
            assert httpx.get(client.base + path, headers=headers).status_code == 401


def test_in_production_sensors_are_read_with_a_key_unless_they_are_opened(tmp_path: Path) -> None:
    settings = {"FLUXPORT_SERIES__PATH": str(tmp_path / "series.db"), "APP_ENV": "production"}
    with service(tmp_path, "", **settings) as closed:
        assert httpx.get(f"{closed.base}/v1/sensors").status_code == 401
        assert closed.get("/v1/sensors").status_code == 200
    with service(tmp_path, "", **settings, FLUXPORT_SERIES__OPEN="on") as opened:
        assert httpx.get(f"{opened.base}/v1/sensors", headers={"X-Forwarded-For": "1.2.3.4"}).status_code == 200
        assert httpx.post(f"{opened.base}/v1/sensors/a/points", content=b"[]").status_code == 401


def test_keys_read_and_write_sensors_by_their_scopes(tmp_path: Path) -> None:
    def made(name: str, *scopes: str) -> str:
        words = [word for scope in scopes for word in ("--scope", scope)]
        command = [sys.executable, "-m", "fluxport", "keys", "create", name, "--user", name, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.split()[0]

    with service(tmp_path, "", FLUXPORT_SERIES__PATH=str(tmp_path / "series.db")) as running:
        reader, writer, other = made("r", "series"), made("w", "push"), made("o", "dataset:*")

        def status(method: str, path: str, key: str) -> int:
            body = b'{"timestamp_ms": 1, "value": 1}' if method == "POST" else None
            headers = {"Authorization": f"Bearer {key}"}
            return httpx.request(method, running.base + path, content=body, headers=headers).status_code

        assert [status("POST", "/v1/sensors/a/points", k) for k in (reader, writer, other)] == [403, 200, 403]
        path = "/api/v1/export?sensor_id=a&start_ts=1&end_ts=1"
        assert [status("GET", path, k) for k in (reader, writer, other)] == [200, 403, 403]


def test_without_a_store_the_routes_report_what_is_missing(tmp_path: Path) -> None:
    with service(tmp_path, f"sqlite:///{tmp_path}/some.db") as running:
        answer = httpx.get(f"{running.base}/v1/sensors")
        assert (answer.status_code, answer.json()["code"]) == (501, "no_series")
        assert export(running, sensor_id="A", start_ts=1, end_ts=2).status_code == 501


def test_a_client_that_leaves_ends_the_export(client: Client) -> None:
    send(client, "long", walk(500_000))
    target = f"/api/v1/export?sensor_id=long&start_ts={T0}&end_ts={T0 + 10**12}"
    signed = "".join(f"{name}: {value}\r\n" for name, value in client.headers("GET", target).items())
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{signed}\r\n".encode())
        head = connection.recv(2000)
    export_id = head.split(b"x-export-id: ")[1].split(b"\r\n")[0].decode()
    while (reported := client.get(f"/v1/exports/{export_id}").json())["status"] == "running":
        time.sleep(0.02)
    assert (reported["status"], reported["error"]["code"]) == ("failed", "client_gone")
    assert export(client, sensor_id="A", start_ts=T0, end_ts=T0).status_code == 200


def test_twenty_exports_at_once_while_points_arrive(client: Client) -> None:
    send(client, "busy", walk(100_000))
    fixed = walk(100_000)
    over = False

    def feed() -> int:
        sent = 0
        while not over:
            batch = walk(1000, start=T0 + 10**9 + sent * 1000)
            assert send(client, "busy", batch).status_code == 200
            sent += 1000
        return sent

    with concurrent.futures.ThreadPoolExecutor(21) as threads:
        feeding = threads.submit(feed)
        query = {"sensor_id": "busy", "start_ts": T0, "end_ts": int(fixed.ms[-1])}
        answers = list(threads.map(lambda _: export(client, **query), range(20)))
        over = True
        sent = feeding.result()
    expected = csv_of(fixed)
    assert all(answer.status_code == 200 and answer.content == expected for answer in answers)
    assert sent > 0


def test_a_killed_service_has_every_point_that_it_acknowledged(tmp_path: Path) -> None:
    settings = {"API_SECRET": SECRET, "FLUXPORT_SERIES__PATH": str(tmp_path / "series.db")}
    with process("serve", "--port", "0", "--no-worker", folder=tmp_path, environ=settings, until="listening on") as (
        started,
        line,
    ):
        running = Client(line.split("listening on ")[1].strip(), started.pid)
        for n in range(20):
            assert send(running, "a", A[n * 100 : n * 100 + 100]).status_code == 200
        started.kill()
        started.wait()
    with service(tmp_path, "", FLUXPORT_SERIES__PATH=str(tmp_path / "series.db")) as again:
        assert export(again, sensor_id="a", start_ts=0, end_ts=END).content == csv_of(A[:2000])
