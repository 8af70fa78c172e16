"""A request means the same in every API: a stream, a job, Flight in both directions, the command line."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.flight as fl
import pytest

from grpc_support import new_key
from mysql_support import wait_until
from service_support import emulator, service

QUERY = "SELECT id, CONCAT('name ', id) AS name FROM users ORDER BY id"
TABLE = pa.table({"id": pa.array(range(1, 11), pa.int64()), "name": [f"name {i}" for i in range(1, 11)]})


@dataclass
class Place:
    """A running service with all its APIs, and the database that it reads."""

    http: httpx.Client
    flight: str
    folder: Path
    database: str
    key: str

    def options(self) -> fl.FlightCallOptions:
        return fl.FlightCallOptions(timeout=60, headers=[(b"authorization", f"Bearer {self.key}".encode())])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("plan")
    with emulator(folder, 20) as url, service(folder, url, FLUXPORT_FLIGHT__PORT="0") as client:
        found = re.search(r"Arrow Flight at (\S+)", next(folder.glob("serve-*.log")).read_text())
        assert found
        key = new_key(folder, "all", "push", "sql:main", user="shop")
        with httpx.Client(base_url=client.base, headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
            yield Place(http, f"grpc://{found[1]}", folder, url, key)


@dataclass
class Result:
    """The files, by their names in order; or ``refused``, the code or sentence of the error."""

    files: list[bytes]
    refused: str = ""


def streamed(place: Place, request: dict[str, Any]) -> Result:
    answer = place.http.post("/v1/stream", json={"source": {"query": QUERY}} | request)
    return Result([answer.content]) if answer.status_code == 200 else Result([], answer.json()["code"])


def stored(place: Place, request: dict[str, Any]) -> Result:
    answer = place.http.post("/v1/exports", json={"source": {"query": QUERY}} | request)
    if answer.status_code != 202:
        return Result([], answer.json()["code"])
    path = f"/v1/exports/{answer.json()['id']}"
    assert wait_until(lambda: place.http.get(path).json()["status"] in ("completed", "failed"), 60)
    job = place.http.get(path).json()
    if job["status"] == "failed":
        return Result([], job["error"]["code"])
    link = place.http.post(f"{path}/links").json()["url"]
    return Result([httpx.get(f"{link}&part={number + 1}").content for number in range(len(job["files"]))])


def pushed(place: Place, request: dict[str, Any]) -> Result:
    name = json.dumps(request, sort_keys=True)
    command = fl.FlightDescriptor.for_command(json.dumps({"request_id": name} | request).encode())
    try:
        with fl.connect(place.flight) as client:
            writer, metadata = client.do_put(command, TABLE.schema, place.options())
            with writer:
                for _ in range(200):  # far more than what is read ahead
                    writer.write_table(TABLE)
                writer.done_writing()
                reported = []
                while (buffer := metadata.read()) is not None:
                    reported.append(json.loads(buffer.to_pybytes()))
    except pa.ArrowException as error:
        return Result([], str(error))
    files = place.http.get(f"/v1/exports/{reported[-1]['task_id']}").json()["files"]
    return Result([httpx.get(f"{reported[-1]['url']}&part={number + 1}").content for number in range(len(files))])


def fetched(place: Place, request: dict[str, Any]) -> Result:
    ticket = fl.Ticket(json.dumps({"source": {"query": QUERY}} | request).encode())
    try:
        with fl.connect(place.flight) as client:
            table = client.do_get(ticket, place.options()).read_all()
    except pa.ArrowException as error:
        return Result([], str(error))
    return Result([f"{table.num_rows} rows".encode()])


def on_the_command_line(place: Place, request: dict[str, Any]) -> Result:
    folder = place.folder / f"cli-{len(list(place.folder.glob('cli-*')))}"
    folder.mkdir()
    given = [f"--option={name}={value}" for name, value in request.get("options", {}).items()]
    given += [f"--{name}={request[name]}" for name in ("format", "compression") if name in request]
    command = [sys.executable, "-m", "fluxport", "export", QUERY, "--from", place.database, "--to", f"{folder}/"]
    done = subprocess.run([*command, "--json", *given], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        return Result([], done.stderr)
    files = sorted(path for path in folder.iterdir() if not path.name.endswith("manifest.json"))
    return Result([path.read_bytes() for path in files])


Way = Callable[[Place, dict[str, Any]], Result]
ALL: list[Way] = [streamed, stored, pushed, fetched, on_the_command_line]
STORING: list[Way] = [stored, pushed, on_the_command_line]
WRITING: list[Way] = [streamed, *STORING]


@pytest.mark.parametrize("way", WRITING)
def test_a_limit_holds(place: Place, way: Way) -> None:
    assert way(place, {"format": "csv", "options": {"limit": 3}}).files == [_csv(range(1, 4))]


def test_a_limit_holds_for_record_batches(place: Place) -> None:
    assert fetched(place, {"options": {"limit": 3}}).files == [b"3 rows"]


@pytest.mark.parametrize("way", ALL)
def test_a_negative_limit_is_refused(place: Place, way: Way) -> None:
    found = way(place, {"options": {"limit": -3}})
    assert not found.files
    assert re.search("bad_option|cannot be negative", found.refused)


@pytest.mark.parametrize("way", STORING)
def test_what_is_stored_may_be_several_files(place: Place, way: Way) -> None:
    found = way(place, {"format": "csv", "options": {"max_rows_per_file": 4, "limit": 10}})
    assert found.files == [_csv(range(1, 5)), _csv(range(5, 9)), _csv(range(9, 11))]


@pytest.mark.parametrize("way", [streamed, fetched])
def test_what_is_streamed_is_one_file(place: Place, way: Way) -> None:
    assert re.search("one_file_only|A stream holds one file", way(place, {"options": {"max_rows_per_file": 4}}).refused)


@pytest.mark.parametrize("way", WRITING)
def test_parquet_in_gzip_is_refused(place: Place, way: Way) -> None:
    found = way(place, {"format": "parquet", "compression": "gzip"})
    assert not found.files
    assert re.search("bad_compression|use its option 'codec'", found.refused)


@pytest.mark.parametrize("way", WRITING)
def test_a_zip_holds_the_files_and_their_manifest(place: Place, way: Way) -> None:
    request = {"format": "csv", "compression": "zip", "options": {"limit": 10, "max_rows_per_file": 5}}
    (content,) = way(place, request).files
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert [archive.read(name) for name in archive.namelist()[:-1]] == [_csv(range(1, 6)), _csv(range(6, 11))]
        manifest = json.loads(archive.read("manifest.json"))
    assert [file["rows"] for file in manifest["files"]] == [5, 5]


def test_a_push_beyond_its_limit_is_reported(place: Place) -> None:
    """All its rows are accepted; the file has the first ones, and a warning."""
    pushed(place, {"format": "csv", "options": {"limit": 4}})
    (job,) = place.http.get("/v1/exports?limit=1").json()["data"]
    assert (job["rows"], job["truncated"]) == (4, True)
    assert [warning["code"] for warning in job["warnings"]] == ["limit_reached"]


def _csv(ids: range) -> bytes:
    return b"id,name\n" + b"".join(f"{i},name {i}\n".encode() for i in ids)
