"""Exports by a service and a worker over kinds of databases, stores and formats, observed from outside."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pyarrow.parquet as pq
import sqlalchemy as sa

from ceph_server import Ceph
from fluxport.tables import connect, executors
from mysql_support import wait_until
from service_support import Client, process
from store_support import BUCKET, boto

ROWS = 5_000
QUERY = "SELECT id, name, email FROM users ORDER BY id"
# The same rows with text that no format makes smaller than half of it: 13 MB.
_DIGESTS = ", ".join(f"MD5(CONCAT(name, '{n}'))" for n in range(80))
WIDE_QUERY = f"SELECT id, CONCAT({_DIGESTS}) AS text FROM users ORDER BY id"


def lines(data: bytes) -> int:
    return data.count(b"\n") - 1


def sheet_rows(data: bytes) -> int:
    sheet = openpyxl.load_workbook(io.BytesIO(data), read_only=True).worksheets[0]
    return sum(1 for _ in sheet.iter_rows()) - 1


# What is asked for, and what a foreign reader finds in the file.
FORMATS: dict[str, tuple[dict[str, str], Callable[[bytes], int]]] = {
    "csv": ({"format": "csv"}, lines),
    "gzip": ({"format": "csv", "compression": "gzip"}, lambda data: lines(gzip.decompress(data))),
    "xlsx": ({"format": "xlsx"}, sheet_rows),
    "parquet": ({"format": "parquet"}, lambda data: pq.read_metadata(io.BytesIO(data)).num_rows),
}
STORES = ["local", "s3"]


@dataclass(frozen=True)
class Files:
    """A store as its owner sees it: the files of an export, and the number of ``unfinished`` ones."""

    of: Callable[[str], list[bytes]]
    unfinished: Callable[[], int]


@dataclass(frozen=True)
class Place:
    """A service without a worker over one kind of database and store, which is at ``folder``/exports if it is local."""

    client: Client
    folder: Path
    database: str
    environ: dict[str, str]
    files: Files

    @contextlib.contextmanager
    def worker(self, under: Callable[..., list[str]] | None = None, /, **more: str) -> Iterator[Any]:
        environ = self.environ | more
        with process("worker", folder=self.folder, environ=environ, until="worker ready", under=under) as (started, _):
            yield started

    def submitted(self, format_: str, query: str = QUERY) -> str:
        body = {"source": {"query": query}} | FORMATS[format_][0]
        export_id: str = self.client.post("/v1/exports", body).json()["id"]
        return export_id

    def job(self, export_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/v1/exports/{export_id}").json()
        return found

    def reasons(self, export_id: str) -> list[str]:
        """Why attempts have failed, by their codes."""
        return [reason["code"] for reason in self.job(export_id)["attempt_errors"]]

    def runs(self, export_id: str) -> None:
        assert wait_until(lambda: self.job(export_id)["status"] == "running", 60)

    def cancel(self, export_id: str) -> None:
        target = f"/v1/exports/{export_id}"
        httpx.delete(self.client.base + target, headers=self.client.headers("DELETE", target))
        assert wait_until(lambda: self.job(export_id)["status"] == "canceled", 60)

    def completed_once(self, export_id: str, format_: str, reasons: list[str]) -> None:
        assert wait_until(lambda: self.job(export_id).get("status") == "completed", 120), self.job(export_id)
        job = self.job(export_id)
        assert (job["rows"], self.reasons(export_id)) == (ROWS, reasons), job
        [data] = self.files.of(export_id)
        assert self.files.unfinished() == 0
        assert hashlib.sha256(data).hexdigest() == job["files"][0]["sha256"]
        assert FORMATS[format_][1](data) == ROWS

    def failed_and_left_nothing(self, export_id: str, reasons: list[str]) -> None:
        assert wait_until(lambda: self.job(export_id)["status"] == "failed", 120), self.job(export_id)
        assert self.reasons(export_id) == reasons, self.job(export_id)
        left = len(self.files.of(export_id)), self.files.unfinished()
        assert left == (0, 0), left

    def take_workers_for_dead(self) -> None:
        """The effect of some seconds without a heartbeat."""
        engine = connect(self.database)
        with engine.begin() as connection:
            connection.execute(sa.update(executors).values(seen_at=0.0))
        engine.dispose()


def in_folder(exports: Path) -> Files:
    return Files(
        lambda export_id: [path.read_bytes() for path in exports.glob(f"{export_id}*")],
        lambda: len(list(exports.glob(".fluxport-*.part"))),
    )


def in_ceph(ceph: Ceph) -> Files:
    s3 = boto(ceph)

    def unfinished() -> int:
        return len(s3.list_multipart_uploads(Bucket=BUCKET, Prefix="exports/").get("Uploads", []))

    def files(export_id: str) -> list[bytes]:
        found = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"exports/{export_id}").get("Contents", [])
        return [s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in found]

    return Files(files, unfinished)
