"""The description of the API is correct: every operation, body, error and list of names; models and parsers agree; no
response depends on it. ``api_document.py`` also compares it with the responses of every other test."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from api_document import complain, document, operation_of, operations, validator
from fluxport import formats
from fluxport.datasets.order import page_of, sort_keys
from fluxport.delivery.webhook import WebhookOptions
from fluxport.error_codes import FAMILIES
from fluxport.errors import Refused
from fluxport.formats import compress
from fluxport.http.fluxquery import read_request as read_fluxquery
from fluxport.http.historian import read_description
from fluxport.http.openapi import models, older
from fluxport.http.openapi.operations import OPERATIONS
from fluxport.http.queue import read_request as read_queue
from fluxport.http.session import read_login
from fluxport.jobs.notify import check_notify
from fluxport.jobs.request import PRIORITIES, ExportRequest
from fluxport.jobs.states import Status
from fluxport.series.bodies import read_points
from fluxport.sources.series import Selection
from fluxport.spec import ExportSpec
from service_support import SECRET, Client
from whole_service import SENSOR, Whole, whole_service

JSON = "application/json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    keys = {"signer": {"secrets": [SECRET]}}
    with whole_service(tmp_path_factory.mktemp("openapi"), auth={"keys": keys, "development_user": True}) as running:
        yield running


# -- the document ------------------------------------------------------------------------------------------------------


def test_every_route_is_described_and_every_description_is_of_a_route() -> None:
    assert {operation["operationId"] for _, _, operation in operations()} == set(OPERATIONS)


def test_the_document_is_built_when_first_requested(tmp_path: Path) -> None:
    """No model is imported at the start."""
    script = (
        "import sys; from pathlib import Path; from fluxport import config, wiring\n"
        "flags = {'connections.main.url': 'mysql://nobody@127.0.0.1/x', 'database': 'sqlite:///fluxport.db'}\n"
        "made = wiring.service(config.load(environ={}, folder=Path('.'), flags=flags))\n"
        "before = {name for name in sys.modules if name.startswith('fluxport.http.openapi')}\n"
        "made.app.openapi()\n"
        "after = {name for name in sys.modules if name.startswith('fluxport.http.openapi')}\n"
        "made.close(); print(len(before), len(after))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    before, after = ran.stdout.split()
    assert (before, int(after) > 1) == ("0", True)


def test_names_in_the_document_are_those_of_the_tables() -> None:
    schemas = document()["components"]["schemas"]
    assert set(schemas["Format"]["enum"]) == set(formats.FORMATS) | {"excel", "ndjson"}
    assert set(schemas["Compression"]["enum"]) == set(compress.COMPRESSIONS) | {"gz", "zst"}
    assert schemas["Priority"]["enum"] == list(PRIORITIES)
    assert schemas["Export"]["properties"]["status"]["enum"] == list(get_args(Status))
    options = {ref["$ref"].rpartition("/")[2] for ref in schemas["ExportRequest"]["properties"]["options"]["anyOf"]}
    assert {"CsvOptions", "TsvOptions", "JsonOptions", "XlsxOptions", "ParquetOptions", "ArrowOptions"} <= options
    assert schemas["CsvOptions"]["properties"]["quoting"]["enum"]


def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    """The place and the schema of each JSON body of a request or response."""
    for path, method, operation in operations():
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            if kind == JSON:
                yield f"{method} {path}", content["schema"]
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                if kind.endswith("json") and content["schema"].get("format") != "binary":
                    yield f"{method} {path} {status}", content["schema"]


def test_every_body_has_an_example_that_is_one() -> None:
    schemas = document()["components"]["schemas"]
    seen = 0
    for where, schema in bodies():
        for ref in schema.get("anyOf", [schema]):
            name = ref["$ref"].rpartition("/")[2]
            assert schemas[name].get("examples"), f"{name} of {where} has no example"
    for name, schema in schemas.items():
        for example in schema.get("examples", []):
            assert complain({"$ref": f"#/components/schemas/{name}"}, example) == [], name
            seen += 1
    assert seen > 30


def test_every_error_of_every_operation_has_a_schema_and_codes() -> None:
    for path, method, operation in operations():
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and status != "416" and "x-codes" in answer:
                assert answer["x-codes"], (method, path, status)
                [content] = answer["content"].values()
                assert content["schema"]["$ref"].endswith(("Problem", "FluxQueryError", "QueueError"))
        assert {"400", "500"} <= set(operation["responses"]), (method, path)


# Of no family: http/responses.py builds them.
OF_HTTP = {("bad_parameter", 400)}


def test_codes_in_the_document_are_registered_with_their_status() -> None:
    for name, operation in OPERATIONS.items():
        for status, codes in operation.codes.items():
            for code in codes:
                known = {family.status for family in FAMILIES.get(code, ())}
                assert status in known or (code, status) in OF_HTTP, (name, status, code)


def test_types_of_files_are_those_of_formats_and_compressions(whole: Whole) -> None:
    """Each is sent with a described type, which the check of every response ensures."""
    for name in formats.FORMATS:
        for compression in compress.COMPRESSIONS:
            body = {"source": {"query": "SELECT 1 AS a", "connection": "journal"}, "format": name}
            answer = whole.http.post("/v1/stream", json=body | {"compression": compression})
            assert answer.status_code == (
                400 if formats.FORMATS[name].compresses_inside and compression in ("gzip", "zstd") else 200
            )


# -- what is served ----------------------------------------------------------------------------------------------------


def test_every_operation_answers_as_it_is_described(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """``check`` compares a success of each with the document."""
    seen: set[str] = set()
    send = httpx.Client.send

    def noted(client: httpx.Client, request: httpx.Request, **given: Any) -> httpx.Response:
        answer = send(client, request, **given)
        operation = operation_of(request.method, request.url.path)
        if operation is not None and answer.status_code < 400:
            seen.add(operation["operationId"])
        return answer

    monkeypatch.setattr(httpx.Client, "send", noted)
    http = whole.http
    job = whole.export(format="xlsx", options={"columns": ["id"]}, notify={"email": ["ann@example.com"]}, count=True)
    key = {"Idempotency-Key": "once"}
    body = {"source": {"dataset": "trades"}}
    again = [http.post("/v1/exports", json=body, headers=key).status_code for _ in range(2)]
    assert again == [202, 200]
    http.post("/v1/stream", json=body)
    http.post("/v1/preview", json=body)
    http.get("/v1/exports")
    events = http.get(f"/v1/exports/{job['id']}/events").text
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    endless = http.post("/v1/exports", json={"source": {"query": slow, "connection": "journal"}}).json()["id"]
    http.delete(f"/v1/exports/{endless}")
    link = http.post(f"/v1/exports/{job['id']}/links", json={"one_time": True}).json()["url"]
    assert httpx.get(link, headers={"Accept": "text/html"}).headers["content-type"].startswith("text/html")
    assert httpx.get(link, headers={"Range": "bytes=99999999-"}).status_code == 416
    part = httpx.get(link, headers={"Range": "bytes=0-9"})
    assert part.status_code == 206
    assert httpx.post(link, headers={"X-Download-Session": part.headers["X-Download-Session"]}).status_code == 200
    for target in (
        "/v1/datasets",
        "/v1/datasets/trades",
        "/v1/formats",
        "/v1/formats/excel",
        "/v1/connections",
        "/v1/schedules",
        "/v1/audit",
        "/v1/sensors",
        f"/v1/sensors/{SENSOR}",
        f"/v1/sensors/{SENSOR}/points",
        f"/api/v1/query?sensor_id={SENSOR}&start_ts=0&end_ts=1800000000000",
        f"/api/v1/export?sensor_id={SENSOR}&start_ts=0&end_ts=1800000000000",
        "/api/v1/metadata",
        "/api/health",
        "/api/exports/jobs",
        "/api/exports/stream?type=trades",
        "/session",
        "/session/state",
        "/health/live",
        "/health/ready",
        "/metrics",
    ):
        assert http.get(target).status_code == 200, target
    http.put(f"/v1/sensors/{SENSOR}", json={"name": "Line 1"})
    http.post(f"/v1/sensors/{SENSOR}/points", json={"timestamp_ms": 1_700_000_120_000, "value": None})
    queued = whole.ended(http.post("/api/exports/jobs", json={"type": "trades"}).json()["data"]["id"])["id"]
    token = http.post(f"/api/exports/jobs/{queued}/token").json()["data"]["downloadToken"]
    http.get(f"/api/exports/jobs/{queued}")
    of_queue = http.get(f"/api/exports/jobs/{queued}/events").text
    http.get(f"/api/exports/jobs/{queued}/download?token={token}")
    page = {"X-Requested-With": "fluxport"}
    with httpx.Client(base_url=whole.base, headers=page) as person:
        assert person.post("/session/dev").status_code == 201
        assert person.delete("/session").status_code == 204
    signer = Client(whole.base, whole.pid, key_id="signer")
    old = signer.post("/export", {"query": "SELECT 1 AS a"}).json()["job_id"]
    assert signer.finished(old)["status"] == "COMPLETED"
    assert httpx.get(f"{whole.base}/jobs?id={old}").json() == {"status": "COMPLETED"}
    for text, model in ((events, "ExportEvent"), (of_queue, "QueueEvent")):
        event = validator({"$ref": f"#/components/schemas/{model}"})
        lines = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.strip().split("\n\n")]
        for line in lines:
            event.validate({"id": int(line["id"]), "event": line["event"], "data": json.loads(line["data"])})
        assert lines[-1]["event"] == "completed"
    assert set(OPERATIONS) - seen == {"sign_in"}  # of test_identity.py


def test_the_check_of_responses_detects_what_is_not_described(whole: Whole) -> None:
    schema = {"$ref": "#/components/schemas/Export"}
    job = whole.export()
    assert complain(schema, job) == []
    assert complain(schema, job | {"more": 1})
    assert complain(schema, job | {"status": "lost"})
    assert complain(schema, {key: value for key, value in job.items() if key != "eta_s"})


GOLDEN = """\
{"id":"…","status":"completed","phase":null,"source":{"query":"SELECT 1 AS a","connection":"journal"},"format":"csv",\
"compression":"none","options":{},"rows":1,"rows_total":1,"bytes":4,"percent":100.0,"eta_s":null,\
"files":[{"name":"…","rows":1,"bytes":4,"sha256":"…","verified":"size"}],\
"columns":[{"name":"a","type":"int64"}],"warnings":[],"truncated":false,"attempts":1,"attempt_errors":[],"error":null,\
"download":{"url":"…","expires_at":"…"},"created_at":"…","started_at":"…","finished_at":"…","expires_at":"…",\
"request_id":"…","priority":"normal"}"""
GOLDEN_PROBLEM = """\
{"type":"about:blank","title":"Not Found","status":404,"detail":"There is no such export.","code":"no_such_export",\
"request_id":"…"}"""


def test_the_bytes_of_answers_are_as_they_were(whole: Whole) -> None:
    """Order of keys, nulls and spaces, without what differs each time."""
    job = whole.export(source={"query": "SELECT 1 AS a", "connection": "journal"})
    shown = whole.http.get(f"/v1/exports/{job['id']}").text
    changing = r'"(id|name|sha256|url|request_id|\w+_at)":"[^"]*"'
    retained = re.sub(changing, r'"\1":"…"', shown).replace('{"name":"…","type"', '{"name":"a","type"')
    assert retained == GOLDEN
    missing = whole.http.get("/v1/exports/none").text
    assert re.sub(changing, r'"\1":"…"', missing) == GOLDEN_PROBLEM


# -- models and parsers ------------------------------------------------------------------------------------------------


def refused(parse: Any, body: Any) -> bool:
    try:
        parse(body)
    except Refused:
        return True
    return False


def invalid(model: type[BaseModel], body: Any) -> bool:
    try:
        model.model_validate(body)
    except ValidationError:
        return True
    return False


def parse_spec(spec: ExportSpec) -> None:
    """The checks that need no database."""
    name = formats.canonical(spec.format)
    formats.options(name, spec.options)
    compress.canonical(spec.compression)
    sort_keys(spec.sort)
    page_of(spec.limit, spec.offset)
    if spec.series is not None:
        Selection.from_json(spec.series)


def parse_stream(body: Any) -> None:
    parse_spec(ExportSpec.from_json(body))


def parse_export(body: Any) -> None:
    requested = ExportRequest.from_json(body)
    parse_spec(requested.spec)
    check_notify(requested.notify, WebhookOptions())


def parse_queue(body: Any) -> None:
    requested, _ = read_queue(body)
    check_notify(requested.notify, WebhookOptions())


SOURCES: list[Any] = [
    {"query": "SELECT 1"},
    {"query": "SELECT ?", "params": [1, None, "a"], "connection": "other"},
    {"query": "SELECT :a", "params": {"a": 1}},
    {"query": 1},
    {"query": "SELECT 1", "params": 3},
    {"query": "SELECT 1", "params": "a"},
    {"query": "SELECT 1", "connection": None},
    {"query": "SELECT 1", "conection": "main"},
    {"dataset": "trades"},
    {"dataset": "trades", "params": {"status": ["open"]}},
    {"dataset": "trades", "params": ["open"]},
    {"dataset": "trades", "connection": "main"},
    {"dataset": "trades", "sort": "-entryAt,id", "limit": 1, "offset": 0},
    {"dataset": "trades", "sort": ["id", {"column": "entryAt", "descending": True}, {"column": "a"}]},
    {"dataset": "trades", "sort": None, "limit": None, "offset": None},
    {"dataset": "trades", "sort": [], "limit": 2**53 - 1},
    {"dataset": "trades", "sort": [{"descending": True}]},
    {"dataset": "trades", "sort": [{"column": "id", "descending": "yes"}]},
    {"dataset": "trades", "sort": [{"column": "id", "nulls": "last"}]},
    {"dataset": "trades", "sort": [""]},
    {"dataset": "trades", "sort": {"column": "id"}},
    {"dataset": "trades", "limit": 0},
    {"dataset": "trades", "limit": "5"},
    {"dataset": "trades", "limit": True},
    {"dataset": "trades", "limit": 5, "offset": -1},
    {"dataset": "trades", "limit": 5, "offset": 2**53},
    {"dataset": None},
    {"query": "SELECT 1", "sort": "id"},
    {"query": "SELECT 1", "dataset": "trades"},
    {"sensor_id": "a"},
    {"sensor_id": ""},
    {"sensor_id": []},
    {"sensor_id": ["a", "b"], "start_ts": 1, "end_ts": "2026-01-01T00:00:00Z", "layout": "wide", "time": "datetime"},
    {"sensor_id": ["a", 1]},
    {"sensor_id": ["a"] * 201},
    {"sensor_id": "a", "aggregate": "avg", "interval": "15m"},
    {"sensor_id": "a", "aggregate": "median", "interval": "15m"},
    {"sensor_id": "a", "layout": "tall"},
    {"sensor_id": "a", "start_ts": [1]},
    {"sensor_id": "a", "params": {}},
    {},
    None,
    [],
    "SELECT 1",
]
QUERY = {"query": "SELECT 1"}
BODIES: list[Any] = [
    *({"source": source} for source in SOURCES),
    None,
    [],
    {},
    {"source": QUERY, "format": "xlsx"},
    {"source": QUERY, "format": "EXCEL"},
    {"source": QUERY, "format": "pdf"},
    {"source": QUERY, "format": None},
    {"source": QUERY, "compression": "gz"},
    {"source": QUERY, "compression": "zip"},
    {"source": QUERY, "compression": "rar"},
    {"source": QUERY, "compression": 1},
    {"source": QUERY, "filename": None},
    {"source": QUERY, "filename": "a-{date}"},
    {"source": QUERY, "filename": 1},
    {"source": QUERY, "store": "s3"},
    {"source": QUERY, "store": None},
    {"source": QUERY, "options": {"limit": 5, "columns": ["a", {"name": "b", "label": "B"}], "delimiter": ";"}},
    {"source": QUERY, "options": {"limit": 5.5}},
    {"source": QUERY, "options": {"nothing": 1}},
    {"source": QUERY, "options": {"columns": "a,b"}},
    {"source": QUERY, "options": {"columns": [1]}},
    {"source": QUERY, "options": {"columns": [{"label": "B"}]}},
    {"source": QUERY, "options": []},
    {"source": QUERY, "fromat": "csv"},
]
EXPORT_BODIES: list[Any] = [
    {"source": QUERY, "priority": "high"},
    {"source": QUERY, "priority": "urgent"},
    {"source": QUERY, "priority": None},
    {"source": QUERY, "count": True},
    {"source": QUERY, "count": 1},
    {"source": QUERY, "notify": None},
    {"source": QUERY, "notify": {}},
    {"source": QUERY, "notify": {"email": ["ann@example.com"]}},
    {"source": QUERY, "notify": {"email": "ann@example.com"}},
    {"source": QUERY, "notify": {"email": ["ann@example.com"] * 11}},
    {"source": QUERY, "notify": {"email": [1]}},
    {"source": QUERY, "notify": {"webhook": None, "upload": None}},
    {"source": QUERY, "notify": {"webhook": 1}},
    {"source": QUERY, "notify": {"upload": {"headers": {}}}},
    {"source": QUERY, "notify": {"upload": {"url": "https://example.com/a", "headers": {"a": 1}}}},
    {"source": QUERY, "notify": {"upload": {"url": "https://example.com/a", "more": 1}}},
    {"source": QUERY, "notify": {"sms": "1"}},
    {"source": QUERY, "notify": []},
]


@pytest.mark.parametrize("body", BODIES, ids=json.dumps)
def test_models_and_parsers_take_the_same_streams(body: Any) -> None:
    assert invalid(models.StreamRequest, body) == refused(parse_stream, body)
    assert invalid(models.ExportRequest, body) == refused(parse_export, body)


@pytest.mark.parametrize("body", EXPORT_BODIES, ids=json.dumps)
def test_models_and_parsers_take_the_same_exports(body: Any) -> None:
    assert invalid(models.ExportRequest, body) == refused(parse_export, body)
    assert invalid(models.StreamRequest, body)
    assert refused(parse_stream, body)


OTHERS: dict[str, tuple[type[BaseModel], Any, list[Any]]] = {
    "login": (
        models.Login,
        read_login,
        [{"user": "a", "password": "b"}, {"user": "a"}, {"user": 1}, {"user": "a", "password": "b", "c": 1}, [], None],
    ),
    "description": (
        models.Description,
        read_description,
        [{}, {"name": "a"}, {"name": "a" * 201}, {"id": "a"}, {"name": None}, {"unit": 1}, []],
    ),
    "FluxQuery": (
        older.FluxQueryRequest,
        lambda body: read_fluxquery(body, "none"),
        [
            {"query": "SELECT 1"},
            {"query": "SELECT 1", "format": "Excel", "email": None, "other": 1},
            {"query": "SELECT 1", "format": "parquet"},
            {"query": "SELECT 1", "format": "pdf"},
            {"query": 1},
            {},
            [],
        ],
    ),
    "Export queue": (
        older.QueueRequest,
        parse_queue,
        [
            {"type": "trades"},
            {"type": "trades", "format": "json", "params": {"a": None}, "selectedColumns": ["a"], "requestId": "r"},
            {"type": "trades", "params": None, "requestId": None},
            {"type": "trades", "format": "parquet"},
            {"type": "trades", "format": "pdf"},
            {"type": 1},
            {"type": "trades", "params": [1]},
            {"type": "trades", "requestId": "a b"},
            {"type": "trades", "kind": "a"},
            {"type": "trades", "count": True, "notify": {"email": ["ann@example.com"]}},
            {"type": "trades", "count": 1},
            {"type": "trades", "count": None},
            {"type": "trades", "notify": None},
            {},
            [],
        ],
    ),
}


@pytest.mark.parametrize(
    ("api", "body"), [(api, body) for api, (_, _, bodies) in OTHERS.items() for body in bodies], ids=json.dumps
)
def test_models_and_parsers_take_the_same_of_others(api: str, body: Any) -> None:
    model, parse, _ = OTHERS[api]
    assert invalid(model, body) == refused(parse, body)


@pytest.mark.parametrize(
    "body",
    [
        {"timestamp_ms": 1, "value": 2.5},
        {"timestamp_ms": 1, "value": None, "quality": None},
        [{"timestamp_ms": 1, "value": 2}, {"timestamp_ms": 2, "value": 3, "quality": 0}],
        {"points": [{"timestamp_ms": 1, "value": 2}]},
        {"timestamp_ms": [1, 2], "value": [1, None], "quality": [1, 0]},
        {"timestamp_ms": [1, 2], "value": [1.5, 2]},
        {"timestamp_ms": 1},
        {"timestamp_ms": 1, "value": 1, "more": 1},
        {"timestamp_ms": "x", "value": 1},
        {"timestamp_ms": 1, "value": "x"},
        {"timestamp_ms": 1, "value": 1, "quality": -1},
        {"points": 1},
        1,
        None,
    ],
    ids=json.dumps,
)
def test_models_and_parsers_take_the_same_points(body: Any) -> None:
    assert invalid(models.NewPoints, body) == refused(lambda b: read_points(json.dumps(b).encode(), JSON, "a"), body)
