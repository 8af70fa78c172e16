"""The faults that end an export, over every kind of place: the service's own database on SQLite and on PostgreSQL, the
file in a folder and in S3, as CSV, gzip, XLSX and Parquet. Each export is whole in the end, once, or leaves nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from python_calamine import CalamineWorkbook

from ceph_server import Ceph
from fault_proxy import Fault, FaultProxy
from mysql_support import wait_until
from postgres_support import scratch_postgres
from service_support import Client, children, emulator, service
from store_support import BUCKET, boto

ROWS = 60_000
QUERY = {"source": {"query": "SELECT id, name, email FROM users ORDER BY id"}}


def csv_rows(data: bytes) -> int:
    return data.count(b"\n") - 1


def xlsx_rows(data: bytes) -> int:
    return len(CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python()) - 1


# The body of each kind of file, and how many rows a reader that is not ours finds in one.
FORMS: dict[str, tuple[dict[str, Any], Callable[[bytes], int]]] = {
    "csv": ({"format": "csv"}, csv_rows),
    "gzip": ({"format": "csv", "compression": "gzip"}, lambda data: csv_rows(gzip.decompress(data))),
    "xlsx": ({"format": "xlsx"}, xlsx_rows),
    "parquet": ({"format": "parquet"}, lambda data: int(pq.read_table(io.BytesIO(data)).num_rows)),
}


@dataclass
class Place:
    """A running service; ``stored`` is all that its store holds, by name, ``unfinished`` how much is left there of
    uploads or of files that grew."""

    client: Client
    stored: Callable[[], dict[str, bytes]]
    unfinished: Callable[[], int]

    def asked(self) -> dict[str, str]:
        """The id of an export of each form."""
        return {name: self.client.post("/v1/exports", QUERY | body).json()["id"] for name, (body, _) in FORMS.items()}

    def job(self, export_id: str) -> dict[str, Any]:
        return dict(self.client.get(f"/v1/exports/{export_id}").json())

    def all_are(self, ids: dict[str, str], *states: str) -> bool:
        return all(self.job(export_id)["status"] in states for export_id in ids.values())

    def whole(self, ids: dict[str, str]) -> None:
        """Each is completed, and its one file in the store is the one that it tells of, as other readers see it."""
        assert wait_until(lambda: self.all_are(ids, "completed", "failed"), 120)
        held = self.stored()
        for name, export_id in ids.items():
            job = self.job(export_id)
            assert (job["status"], job["rows"]) == ("completed", ROWS), job
            (data,) = [content for key, content in held.items() if export_id in key]
            assert hashlib.sha256(data).hexdigest() == job["files"][0]["sha256"]
            assert FORMS[name][1](data) == ROWS
        assert self.unfinished() == 0

    def nothing(self, ids: dict[str, str]) -> None:
        assert not [key for key in self.stored() if any(export_id in key for export_id in ids.values())]
        assert self.unfinished() == 0


@contextmanager
def place(folder: Path, url: str, database: str, ceph: Ceph | None) -> Iterator[Place]:
    with ExitStack() as stack:
        environ = {"MAX_DB_CONCURRENCY": str(len(FORMS))}
        if database == "postgresql":
            environ["FLUXPORT_DATABASE"] = stack.enter_context(scratch_postgres()).url
        if ceph is None:
            files = folder / "exports"
            client = stack.enter_context(service(folder, url, **environ))

            def in_folder() -> dict[str, bytes]:
                return {path.name: path.read_bytes() for path in files.iterdir() if not path.name.startswith(".")}

            yield Place(client, in_folder, lambda: sum(path.name.startswith(".") for path in files.iterdir()))
            return
        s3, prefix = boto(ceph), f"{secrets.token_hex(6)}/"
        environ |= {
            "STORAGE_TYPE": "s3",
            "S3_BUCKET": BUCKET,
            "S3_ENDPOINT": ceph.endpoint,
            "S3_PATH_STYLE": "true",
            "AWS_REGION": ceph.region,
            "AWS_ACCESS_KEY_ID": ceph.access_key,
            "AWS_SECRET_ACCESS_KEY": ceph.secret_key,
            "FLUXPORT_STORES__LOCAL__PREFIX": prefix,
        }

        def in_bucket() -> dict[str, bytes]:
            found = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
            return {one["Key"]: s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in found}

        client = stack.enter_context(service(folder, url, **environ))
        yield Place(
            client,
            in_bucket,
            lambda: len(s3.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])),
        )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("emulator"), ROWS) as found:
        yield found


PLACES = [(database, store) for database in ("sqlite", "postgresql") for store in ("local", "s3")]


@pytest.fixture(params=PLACES, ids=[f"{store} and {database}" for database, store in PLACES])
def placed(request: Any, tmp_path: Path, url: str) -> Callable[[str], Any]:
    """A place of this kind over a source of one's own."""
    database, store = request.param
    ceph: Ceph | None = request.getfixturevalue("ceph") if store == "s3" else None
    return lambda source: place(tmp_path, source, database, ceph)


@pytest.mark.parametrize("fault", ["fin", "rst"])
def test_a_source_that_breaks_off_half_way_is_read_again(placed: Callable[[str], Any], url: str, fault: Fault) -> None:
    """The first attempt of each ends in the middle of the rows; the file of the second is whole."""
    with FaultProxy(url, fault, 700_000, connections=len(FORMS)) as source, placed(source.url) as found:
        ids = found.asked()
        found.whole(ids)
        reasons = [found.job(export_id)["attempt_errors"] for export_id in ids.values()]
    assert source.faulted.is_set()
    assert any(reasons)


def test_a_source_that_never_gets_further_leaves_nothing(placed: Callable[[str], Any], url: str) -> None:
    """Three attempts, the reason of each on record, and no part of a file."""
    with FaultProxy(url, "fin", 700_000) as source, placed(source.url) as found:
        ids = found.asked()
        assert wait_until(lambda: found.all_are(ids, "failed"), 120)
        jobs = [found.job(export_id) for export_id in ids.values()]
        assert {(job["attempts"], len(job["attempt_errors"]), job["error"]["retryable"]) for job in jobs} == {
            (3, 3, True)
        }
        found.nothing(ids)


def test_what_is_canceled_half_way_leaves_nothing(placed: Callable[[str], Any], url: str) -> None:
    """Whichever form it has, and however much of it was stored."""
    with FaultProxy(url, "stall", 700_000) as source, placed(source.url) as found:
        ids = found.asked()
        assert wait_until(lambda: all(found.job(export_id)["rows"] for export_id in ids.values()), 60)
        for export_id in ids.values():
            target = f"/v1/exports/{export_id}"
            httpx.delete(found.client.base + target, headers=found.client.headers("DELETE", target))
        assert wait_until(lambda: found.all_are(ids, "canceled"), 60)
        assert wait_until(lambda: not found.unfinished(), 60)
        found.nothing(ids)


def test_another_worker_completes_what_a_killed_one_had_begun(placed: Callable[[str], Any], url: str) -> None:
    """Once, with one file each, and without what the killed one has left."""
    with FaultProxy(url, "stall", 700_000, connections=len(FORMS)) as source, placed(source.url) as found:
        ids = found.asked()
        assert wait_until(lambda: all(found.job(export_id)["rows"] for export_id in ids.values()), 60)
        for child in children(found.client.pid):
            os.kill(child, signal.SIGKILL)
        found.whole(ids)
        jobs = [found.job(export_id) for export_id in ids.values()]
    assert {tuple(error["code"] for error in job["attempt_errors"]) for job in jobs} == {("worker_lost",)}
