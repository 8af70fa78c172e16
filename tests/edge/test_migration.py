"""The tables of docs/migrate are true: each row is sent as a request, and what is observed stands in the row.

A row belongs to the check of the same page and the same first cell, which returns the facts that it has observed. A row
without a check names the test that shows it.
"""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import openpyxl
import pytest
import yaml

from fluxport.auth.signing import sign_v1
from fluxport.grpc import export_pb2 as pb
from fluxport.samples import create_sample
from grpc_support import ROW, GrpcApi, batch, metadata, people
from identity_support import new_key
from mail_receiver import MailServer, mail_server
from own_servers import free_ports
from service_support import SECRET, Client, emulator, service

PAGES = Path(__file__).parents[2] / "docs" / "migrate"
TABLES = ("## As before", "## Different, and why")
T0 = 1_700_000_000_000
QUEUE = "/api/exports/jobs"


@dataclass(frozen=True)
class Row:
    page: str
    before: str
    here: str

    @property
    def tests(self) -> list[Path]:
        """The tests that the row names."""
        return [PAGES / path for path in re.findall(r"\]\((\S+?\.py)", self.here)]


def rows() -> Iterator[Row]:
    """The rows of the first table of each of the sections TABLES."""
    for page in sorted(PAGES.glob("*.md")):
        for section in re.split(r"^(?=## )", page.read_text(), flags=re.MULTILINE):
            if section.startswith(TABLES):
                (table,) = re.findall(r"\A[^|]*((?:^\|.*\n)+)", section, flags=re.MULTILINE)
                for line in table.splitlines()[2:]:
                    before, here = line.strip("| ").split(" | ")
                    yield Row(page.stem, before, here)


@dataclass
class World:
    """The whole service, with a key of the user ``ann`` for programs."""

    client: Client
    folder: Path
    mails: MailServer
    push: GrpcApi
    key: str

    def get(self, target: str, **headers: str) -> httpx.Response:
        return self.client.plain_get(target, headers)

    def asked(self, method: str, target: str, body: Any = None) -> httpx.Response:
        """A request with the key."""
        content = None if body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.request(method, self.client.base + target, content=content, headers=headers, timeout=60)

    def fluxquery(self, body: Any, timestamp: int | None = None) -> httpx.Response:
        """A request of FluxQuery's clients."""
        content = json.dumps(body).encode()
        headers = sign_v1(SECRET, "POST", "/export", content, int(timestamp or time.time()))
        return httpx.post(self.client.base + "/export", content=content, headers=headers, timeout=60)

    def exported(self, query: str, format: str = "csv") -> bytes:
        job = self.client.finished(self.fluxquery({"query": query, "format": format}).json()["job_id"])
        assert job["status"] == "COMPLETED", job
        return self.get(job["download_url"]).content

    def job(self, **body: Any) -> dict[str, Any]:
        """A job of the Export queue that has ended."""
        created = self.asked("POST", QUEUE, body).json()["data"]
        while True:
            job: dict[str, Any] = self.asked("GET", f"{QUEUE}/{created['id']}").json()["data"]
            if job["status"] in ("completed", "failed"):
                return job
            time.sleep(0.05)

    def download(self, job: dict[str, Any]) -> httpx.Response:
        return self.asked("GET", f"{QUEUE}/{job['id']}/download?token={job['downloadToken']}")

    def pushed(self, *requests: pb.ExportRequest, **about: Any) -> Any:
        return self.push.push([metadata(**about), *requests], key="")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("migration")
    create_sample(folder / "journal.db", 500, ("ann",))
    (grpc_port,) = free_ports(1)
    with mail_server() as mails, emulator(folder, 500) as url:
        settings = {
            "connections": {"main": {"url": url}, "journal": {"url": f"sqlite:///{folder / 'journal.db'}"}},
            "sample": "journal",
            "series": {"path": str(folder / "series.db")},
            "email": {"host": "127.0.0.1", "port": mails.port, "sender": "exports@example.com"},
            "grpc": {"port": grpc_port, "keyless": ["127.0.0.0/8"], "answers": "stream"},
            "limits": {"requests_per_minute": 100_000},
        }
        (folder / "fluxport.yaml").write_text(yaml.safe_dump(settings))
        with service(folder, "") as client:
            key = new_key(folder, "ann", "ann", "sql:*", "dataset:*", "series", "push")
            api = GrpcApi(f"127.0.0.1:{grpc_port}", client, folder, "")
            made = World(client, folder, mails, api, key)
            add_points(made)
            yield made


def add_points(world: World) -> None:
    points = [{"timestamp_ms": T0 + n, "value": n / 2, "quality": int(n != 3)} for n in range(2000)]
    assert world.asked("POST", "/v1/sensors/oven/points", {"points": points}).status_code == 200
    attributes = {"attributes": {"desc": "Oven", "line": "3"}}
    assert world.asked("PUT", "/v1/sensors/oven", attributes).status_code == 200


Check = Callable[[World], list[str]]
CHECKS: dict[tuple[str, str], Check] = {}


def check(page: str, before: str) -> Callable[[Check], Check]:
    def added(function: Check) -> Check:
        assert (page, before) not in CHECKS
        CHECKS[page, before] = function
        return function

    return added


# -- FluxQuery ---------------------------------------------------------------------------------------------------------


@check("fluxquery", "`POST /export` with `query`, `email`, `format`")
def _(world: World) -> list[str]:
    answer = world.fluxquery({"query": "SELECT 1 AS n", "email": "ann@example.org", "format": "csv"})
    assert answer.json().keys() == {"job_id"}
    return [str(answer.status_code), '{"job_id": "…"}']


@check("fluxquery", "`GET /jobs?id=` until it has ended")
def _(world: World) -> list[str]:
    seen = {"PENDING", "PROCESSING"}  # which of both is seen depends on the moment
    for query, last in (("SELECT 1 AS n", "COMPLETED"), ("SELECT no_such_column FROM users", "FAILED")):
        job_id = world.fluxquery({"query": query}).json()["job_id"]
        assert world.client.finished(job_id)["status"] == last
        answer = world.get(f"/jobs?id={job_id}").json()
        assert answer == {"status": last}
        seen.add(last)
    return [f"`{word}`" for word in seen]


@check("fluxquery", "formats `csv` (default), `json` (JSON Lines), `excel`, `xlsx`")
def _(world: World) -> list[str]:
    query = "SELECT id FROM users ORDER BY id LIMIT 2"
    assert world.exported(query, "") == world.exported(query, "csv") == b"id\n1\n2\n"
    assert world.exported(query, "json") == b'{"id":1}\n{"id":2}\n'
    for name in ("excel", "xlsx"):
        assert openpyxl.load_workbook(io.BytesIO(world.exported(query, name))).worksheets[0]["A3"].value == 2
    assert world.exported(query, "parquet")[:4] == b"PAR1"
    return ["every other"]


@check("fluxquery", "objects named by the job")
def _(world: World) -> list[str]:
    names: list[str] = []
    for name in ("csv", "json", "xlsx"):
        job_id = world.fluxquery({"query": f"SELECT 1 AS {name}", "format": name}).json()["job_id"]
        world.client.finished(job_id)
        (stored,) = (world.folder / "exports").glob(f"{job_id}*")
        names.append(stored.name.replace(job_id, "" if names else "<job_id>"))
    return [f"`{name}`" for name in names]


@check("fluxquery", "`X-Timestamp` and `X-Signature`, five minutes either way")
def _(world: World) -> list[str]:
    now = int(time.time())
    for offset in (-290, 290):
        assert world.fluxquery({"query": f"SELECT {offset + 300} AS n"}, now + offset).status_code == 202
    late = world.fluxquery({"query": "SELECT 1"}, now - 310)
    assert httpx.post(world.client.base + "/export", json={"query": "SELECT 1"}).status_code == late.status_code
    return [str(late.status_code)]


@check("fluxquery", "a bad query, address or format")
def _(world: World) -> list[str]:
    wrong = (
        {"query": "DROP TABLE users"},
        {"query": "SELECT 1", "email": "no"},
        {"query": "SELECT 1", "format": "pdf"},
    )
    return [str(world.fluxquery(body).status_code) for body in wrong]


def mail_about(world: World, job_id: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for mail in list(world.mails.mails):
            if job_id.encode() in mail.content:
                return f"`{mail.message()['Subject']}`"
        time.sleep(0.05)
    raise AssertionError(job_id)


@check("fluxquery", "a mail to `email` with the file attached")
def _(world: World) -> list[str]:
    return [mail_about(world, world.fluxquery({"query": "SELECT 3 AS n", "email": "ann@example.org"}).json()["job_id"])]


@check("fluxquery", "no mail when a job fails")
def _(world: World) -> list[str]:
    body = {"query": "SELECT no_such FROM users", "email": "ann@example.org"}
    return [mail_about(world, world.fluxquery(body).json()["job_id"])]


@check("fluxquery", "a hundred requests at once")
def _(world: World) -> list[str]:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: world.fluxquery({"query": f"SELECT {n} AS hundred"}), range(100)))
    return sorted({str(answer.status_code) for answer in answers})


@check("fluxquery", "the same request may be sent again within five minutes and runs again")
def _(world: World) -> list[str]:
    now, body = int(time.time()), {"query": "SELECT 1 AS again"}
    first, second = (world.fluxquery(body, now) for _ in range(2))
    assert first.json() == second.json()
    target = f"/jobs?id={first.json()['job_id']}"
    headers = world.client.headers("GET", target, version=1)
    assert world.get(target, **headers).status_code == 200
    replayed = world.get(target, **headers)
    return [str(second.status_code), str(replayed.status_code), f"`{replayed.json()['code']}`"]


@check("fluxquery", "an empty secret disables signatures")
def _(world: World) -> list[str]:
    return [str(httpx.post(world.client.base + "/export", json={"query": "SELECT 1"}).status_code)]


@check("fluxquery", "the service listens on every address")
def _(world: World) -> list[str]:
    listening = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    own = [
        address for address, _, state in listening if state == "0A" and address.endswith(f":{world.client.port:04X}")
    ]
    assert own == [f"0100007F:{world.client.port:04X}"]
    return ["this machine only"]


@check("fluxquery", "`GET /jobs` unsigned returns everything")
def _(world: World) -> list[str]:
    job_id = world.fluxquery({"query": "SELECT 1 AS told"}).json()["job_id"]
    everything = world.client.finished(job_id)
    (only,) = world.get(f"/jobs?id={job_id}").json()
    assert everything.keys() >= {"rows", "bytes", "sha256", "download_url", "error", "columns", "warnings"}
    return [f"`{only}`", "`download_url`"]


@check("fluxquery", "the link is `s3://…` or a path")
def _(world: World) -> list[str]:
    job = world.client.finished(world.fluxquery({"query": "SELECT 1 AS linked"}).json()["job_id"])
    assert world.get(job["download_url"]).content == b"linked\n1\n"
    return [job["download_url"].split(":")[0].upper()]


@check("fluxquery", "a failed query may leave a truncated object that looks complete")
def _(world: World) -> list[str]:
    job = world.client.finished(world.fluxquery({"query": "SELECT no_such_column FROM users"}).json()["job_id"])
    assert job["error_code"]
    assert list((world.folder / "exports").glob(f"{job['job_id']}*")) == []
    return [job["status"], "no object"]


@check("fluxquery", "a list of forbidden words")
def _(world: World) -> list[str]:
    allowed = ("WITH a AS (SELECT 1 AS n) SELECT n FROM a", "SELECT REPLACE('a', 'b', 'c') AS r", "SELECT ';' AS s")
    assert {world.fluxquery({"query": query}).status_code for query in allowed} == {202}
    refused = (
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "SELECT LOAD_FILE('/etc/passwd')",
        "SELECT SLEEP(1)",
        "SELECT /*!50000 SLEEP(1) */ 1",
    )
    return [str(world.fluxquery({"query": query}).status_code) for query in refused]


@check("fluxquery", "`-5` in a number column becomes `'-5`")
def _(world: World) -> list[str]:
    assert world.exported("SELECT -5 AS n, '-5' AS t, '=1+1' AS f") == b"n,t,f\n-5,-5,'=1+1\n"
    return ["`-5`", "apostrophe"]


@check("fluxquery", "every Excel cell is text")
def _(world: World) -> list[str]:
    content = world.exported("SELECT 5 AS n, DATE '2026-01-31' AS d, 'x' AS t, 12345678901234567890 AS id", "xlsx")
    cells = [cell.data_type for cell in openpyxl.load_workbook(io.BytesIO(content)).worksheets[0][2]]
    assert cells == ["n", "d", "s", "s"]
    return ["numbers, dates", "text, with a warning"]


@check("fluxquery", "NULL is the word NULL")
def _(world: World) -> list[str]:
    query = "SELECT NULL AS a, '' AS b, 1 AS c"
    assert world.exported(query) == b'a,b,c\n,"",1\n'
    assert json.loads(world.exported(query, "json")) == {"a": None, "b": "", "c": 1}
    sheet = openpyxl.load_workbook(io.BytesIO(world.exported(query, "xlsx"))).worksheets[0]
    assert sheet["A2"].value is None
    return ['(an empty string is `""`)', "`null`"]


# -- the export middleware ---------------------------------------------------------------------------------------------


def rows_of(outcome: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(outcome.file().decode())))[1:]


@check("export-middleware", "batches that leave `batch_sequence` out, or number from 0 or 1")
def _(world: World) -> list[str]:
    for numbers in ((0, 0, 0), (0, 1, 2), (1, 2, 3)):
        done = world.pushed(*(batch(number, ROW) for number in numbers))
        assert len(rows_of(done)) == done.last.record_count == len(numbers)
    return ["all rows"]


@check("export-middleware", "any number of rows in a batch")
def _(world: World) -> list[str]:
    assert (
        world.pushed(batch(0, *[ROW] * 1001)).last.record_count == 1001
    )  # where its file is read: test_middleware_api
    assert world.pushed(batch(0, *[ROW] * 65_536)).code is grpc.StatusCode.OK
    assert world.pushed(batch(0, *[ROW] * 65_537)).code is not grpc.StatusCode.OK
    return ["65,536 rows"]


@check("export-middleware", "a stub whose proto has `returns (stream ExportResponse)`")
def _(world: World) -> list[str]:
    done = world.pushed(*people(3000))
    assert done.answers[0].task_id == done.last.task_id
    assert done.answers[0].status == pb.TASK_STATUS_QUEUED
    return [f"`{pb.TaskStatus.Name(done.last.status).removeprefix('TASK_STATUS_')}`"]


@check("export-middleware", "`QueryTaskStatus`")
def _(world: World) -> list[str]:
    done = world.pushed(*people(10))
    with world.push.channel() as channel:
        stub: Any = channel.unary_unary(
            "/export.ExportService/QueryTaskStatus",
            request_serializer=pb.TaskStatusRequest.SerializeToString,
            response_deserializer=pb.TaskStatusResponse.FromString,
        )
        found = stub(pb.TaskStatusRequest(task_id=done.last.task_id), timeout=30)
    assert (found.status, found.progress_percent, found.records_processed) == (pb.TASK_STATUS_COMPLETED, 100, 10)
    return ["its status and its progress"]


@check("export-middleware", "an invalid request")
def _(world: World) -> list[str]:
    nameless = world.pushed(filename="")
    short = world.pushed(batch(1, ROW[:2]))
    assert nameless.code is short.code
    return [f"`{nameless.code.name}`", f"`{nameless.word}`", f"`{short.word}`"]


@check("export-middleware", "object names")
def _(world: World) -> list[str]:
    task = world.pushed(*people(10)).last.task_id
    (stored,) = (world.folder / "exports").rglob(f"{task}*")
    day = stored.parent.relative_to(world.folder / "exports").as_posix()
    assert re.fullmatch(r"\d{4}/\d{2}/\d{2}", day)
    assert re.fullmatch(rf"{task}_\d{{8}}-\d{{6}}_people\.csv", stored.name)
    return ["`YYYY/MM/DD/<task_id>_<YYYYMMDD-HHMMSS>_<filename>`"]


@check("export-middleware", "`export_active_tasks` and its other metrics, at `/metrics`")
def _(world: World) -> list[str]:
    text = world.get("/metrics").text
    for name in ("active_tasks", "queued_tasks", "duration_seconds", "upload_duration_seconds", "errors_total"):
        assert f"export_{name}" in text
    assert "export_records_processed_total" in text
    return ["the same names"]


@check("export-middleware", "everyone may push")
def _(world: World) -> list[str]:
    wrong = world.push.push([metadata(), *people(1)], key="fxp_wrong")
    return [f"`{wrong.code.name}`", "`grpc.keyless`"]


@check("export-middleware", "every Excel cell is text")
def _(world: World) -> list[str]:
    content = world.pushed(batch(1, ROW), format="FORMAT_EXCEL").file()
    cells = openpyxl.load_workbook(io.BytesIO(content)).worksheets[0][2]
    assert [cell.data_type for cell in cells] == ["n", "s", "d", "b"]
    return ["the declared type"]


@check("export-middleware", "options are read and ignored")
def _(world: World) -> list[str]:
    content = world.pushed(batch(1, ROW), csv_delimiter=";", csv_encoding="utf-16").file()
    assert content.decode("utf-16").splitlines()[0] == "id;name;day;ok"
    book = world.pushed(batch(1, ROW), format="FORMAT_EXCEL", excel_sheet_name="People", excel_start_row=3).file()
    assert openpyxl.load_workbook(io.BytesIO(book))["People"]["A3"].value == "id"
    return ["delimiter, encoding, sheet name, start row"]


@check("export-middleware", "a header counts as a record")
def _(world: World) -> list[str]:
    assert world.pushed(*people(7)).last.record_count == 7
    return ["it does not"]


@check("export-middleware", "progress is `n/(n+1000)`")
def _(world: World) -> list[str]:
    unknown = {answer.progress_percent for answer in world.pushed(*people(50_000)).answers[:-1]}
    known = world.pushed(*people(1000), expected_rows=1000).last.progress_percent
    return ["`expected_rows`", f"{unknown.pop():.0f} until the end", f"then {known:.0f}"]


@check("export-middleware", "a missing batch or a short row goes unnoticed")
def _(world: World) -> list[str]:
    missing = world.pushed(batch(1, ROW), batch(3, ROW))
    assert missing.code is world.pushed(batch(1, ROW[:3])).code
    return [f"`{missing.code.name}`"]


@check("export-middleware", "the checksum is computed but not returned")
def _(world: World) -> list[str]:
    world.pushed(*people(3)).file()  # compares it
    return ["`checksum_sha256`"]


@check("export-middleware", "the same `request_id` is another export")
def _(world: World) -> list[str]:
    first, second = (world.pushed(*people(5), request_id="one") for _ in range(2))
    assert first.last.task_id == second.last.task_id
    assert len(list((world.folder / "exports").rglob(f"{first.last.task_id}*"))) == 1
    return ["the same task", "no second file"]


# -- the Export queue --------------------------------------------------------------------------------------------------


@check("export-queue", "`POST /api/exports/jobs`")
def _(world: World) -> list[str]:
    answer = world.asked("POST", QUEUE, {"type": "goals", "format": "csv", "params": {}})
    assert answer.json()["data"]["downloadToken"]
    return [str(answer.status_code), "the job"]


@check("export-queue", "`GET /api/exports/jobs`")
def _(world: World) -> list[str]:
    job = world.job(type="goals", format="csv", params={}, requestId="mine")
    listed = world.asked("GET", f"{QUEUE}?requestId=mine").json()["data"]
    assert [other["id"] for other in listed] == [job["id"]]
    return ["newest 100 jobs", "`?requestId=`"]


@check("export-queue", "`GET /api/exports/jobs/{id}`")
def _(world: World) -> list[str]:
    assert world.job(type="goals", format="csv", params={})["status"] == "completed"
    return ["the job"]


@check("export-queue", "`GET /api/exports/jobs/{id}/download?token=`")
def _(world: World) -> list[str]:
    assert world.download(world.job(type="goals", format="json", params={})).json()
    return ["the file"]


@check("export-queue", "`POST /api/exports/jobs/{id}/token`")
def _(world: World) -> list[str]:
    job = world.job(type="goals", format="csv", params={})
    renewed = world.asked("POST", f"{QUEUE}/{job['id']}/token").json()["data"]
    assert renewed["downloadToken"] != job["downloadToken"]
    assert world.download(job).status_code == 410
    assert world.download(renewed).status_code == 200
    return ["a new token"]


@check("export-queue", "`GET /api/exports/stream?type=&format=&selectedColumns=a,b`")
def _(world: World) -> list[str]:
    target = "/api/exports/stream?type=trades&format=csv&selectedColumns=status,id&status=OPEN"
    lines = list(csv.reader(io.StringIO(world.asked("GET", target).text)))
    assert lines[0] == ["status", "id"]
    assert {line[0] for line in lines[1:]} == {"OPEN"}
    return ["the file at once", "filter"]


@check("export-queue", "`GET /api/exports/jobs/{id}/events`")
def _(world: World) -> list[str]:
    created = world.asked("POST", QUEUE, {"type": "goals", "format": "csv", "params": {}}).json()["data"]
    answer = world.asked("GET", f"{QUEUE}/{created['id']}/events")  # it ends with the job
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "event: completed" in answer.text
    return ["server-sent events"]


@check("export-queue", "`GET /api/health`")
def _(world: World) -> list[str]:
    found = world.get("/api/health").json()["data"]["metrics"]["export"]
    return [f"`{{{', '.join(found)}}}`"]


@check("export-queue", "trades end silently after 100 rows")
def _(world: World) -> list[str]:
    assert world.job(type="trades", format="csv", params={})["rows"] == 500
    assert world.job(type="trades", format="csv", params={"limit": 120})["rows"] == 120
    return ["all of them", "`limit`"]


@check("export-queue", "`dateTo` excludes its own day")
def _(world: World) -> list[str]:
    target = "/api/exports/stream?type=trades&format=csv&selectedColumns=entryAt"
    days = [line[:10] for line in world.asked("GET", target).text.splitlines()[1:]]
    day = max(set(days), key=days.count)
    within = world.asked("GET", f"{target}&dateFrom={day}&dateTo={day}").text.splitlines()[1:]
    assert len(within) == days.count(day) > 0
    return ["the whole day"]


@check("export-queue", "the job's route returns the whole file, without a token")
def _(world: World) -> list[str]:
    job = world.job(type="goals", format="csv", params={})
    refused = world.asked("GET", f"{QUEUE}/{job['id']}/download?token=")
    assert refused.status_code == 403
    return ["the job", "its token"]


@check("export-queue", "the token's ten minutes begin when the job is queued")
def _(world: World) -> list[str]:
    job = world.job(type="goals", format="csv", params={})
    assert 0 <= job["tokenExpiresAt"] - job["completedAt"] - 600_000 + 1000 <= 1000
    return ["when it ends"]


@check("export-queue", "a token is used up before the file is sent, and two requests at once both get it")
def _(world: World) -> list[str]:
    job = world.job(type="goals", format="csv", params={})
    assert [world.download(job).status_code for _ in range(2)] == [200, 410]
    return ["one client"]


@check("export-queue", "an old token remains valid next to a new one")
def _(world: World) -> list[str]:
    job = world.job(type="goals", format="csv", params={})
    world.asked("POST", f"{QUEUE}/{job['id']}/token")
    assert world.download(job).status_code == 410
    return ["invalidates the previous one"]


@check("export-queue", "a line `# streamed_rows=` in the CSV")
def _(world: World) -> list[str]:
    text = world.asked("GET", "/api/exports/stream?type=goals&format=csv").text
    assert "#" not in text
    return ["only the rows"]


@check("export-queue", "an unknown filter is ignored")
def _(world: World) -> list[str]:
    return [str(world.asked("GET", "/api/exports/stream?type=goals&format=csv&unknown=1").status_code)]


@check("export-queue", "the stream is CSV only")
def _(world: World) -> list[str]:
    assert world.asked("GET", "/api/exports/stream?type=goals&format=parquet").content[:4] == b"PAR1"
    return ["any format"]


# -- the Historian -----------------------------------------------------------------------------------------------------

RANGE = f"sensor_id=oven&start_ts={T0}&end_ts={T0 + 1999}"


@check("historian", "`GET /api/v1/export?sensor_id=&start_ts=&end_ts=`")
def _(world: World) -> list[str]:
    answer = world.get(f"/api/v1/export?sensor_id=oven&start_ts={T0 + 1}&end_ts={T0 + 2}")
    header, *lines = answer.text.splitlines()
    assert [int(line.split(",")[0]) for line in lines] == [T0 + 1, T0 + 2]
    return [f"`{answer.headers['content-type'].split(';')[0]}`", f"`{header}`", "both bounds"]


@check("historian", "`GET /api/v1/query` with `max_points`")
def _(world: World) -> list[str]:
    for most in (1, 10, 10**9):
        found = world.get(f"/api/v1/query?{RANGE}&max_points={most}").json()["points"]
        assert len(found) <= most
    return ["`points`", *(f"`{key}`" for key in ("timestamp", "value") if key in found[0]), "20,000"]


@check("historian", "`GET /api/v1/metadata`")
def _(world: World) -> list[str]:
    ((name, [sensor]),) = world.get("/api/v1/metadata").json().items()
    shown = {key: sensor[key] for key in ("id", "desc", "type", "factory", "line", "machine", "unit")}
    assert shown == dict.fromkeys(shown, "") | {"id": "oven", "desc": "Oven", "line": "3"}
    return [f"`{name}`", *(f"`{key}`" for key in shown)]


@check("historian", "an `Authorization` header of another system")
def _(world: World) -> list[str]:
    return [str(world.get("/api/v1/metadata", Authorization="Bearer eyJhbGciOiJIUzI1NiJ9.e30.x").status_code)]


@check("historian", "`quality` is always 1")
def _(world: World) -> list[str]:
    lines = world.get(f"/api/v1/export?{RANGE}").text.splitlines()[1:]
    assert [line.split(",")[2] for line in lines[:5]] == ["1", "1", "1", "0", "1"]
    return ["0 is bad"]


@check("historian", "up to 999 points are missing at the start of a range")
def _(world: World) -> list[str]:
    for start in (T0, T0 + 1, T0 + 999):
        lines = world.get(f"/api/v1/export?sensor_id=oven&start_ts={start}&end_ts={T0 + 1999}").text.splitlines()[1:]
        assert [int(line.split(",")[0]) for line in lines] == list(range(start, T0 + 2000))
    return ["none"]


@check("historian", "an unknown sensor is an empty file with 200")
def _(world: World) -> list[str]:
    return [str(world.get(f"/api/v1/export?sensor_id=none&start_ts={T0}&end_ts={T0}").status_code)]


@check("historian", "a start after the end is an empty file")
def _(world: World) -> list[str]:
    return [str(world.get(f"/api/v1/export?sensor_id=oven&start_ts={T0 + 1}&end_ts={T0}").status_code)]


@check("historian", "a file named `export.csv`")
def _(world: World) -> list[str]:
    named = world.get(f"/api/v1/export?{RANGE}").headers["content-disposition"]
    assert re.search(rf'filename="oven_{T0}_{T0 + 1999}\.csv"', named), named
    return ["`<sensor>_<start>_<end>.csv`"]


@check("historian", "everyone may read and write")
def _(world: World) -> list[str]:
    return [str(httpx.post(f"{world.client.base}/v1/sensors/oven/points", json=[]).status_code)]


# -- the tables --------------------------------------------------------------------------------------------------------

ROWS = list(rows())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.page}: {row.before}")
def test_what_a_row_says_is_observed(world: World, row: Row) -> None:
    found = CHECKS.get((row.page, row.before))
    if found is None:
        assert row.tests, "the row has no check here and names no test"
        assert all(path.exists() for path in row.tests), row.tests
        return
    for fact in found(world):
        assert fact in row.here


def test_every_check_belongs_to_a_row_and_every_old_system_has_its_page() -> None:
    assert set(CHECKS) <= {(row.page, row.before) for row in ROWS}
    assert {row.page for row in ROWS} == {"fluxquery", "export-middleware", "export-queue", "historian"}
