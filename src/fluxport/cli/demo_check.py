"""``fluxport demo --check``: one signed export of each format through the running service, each read back by an
independent reader."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import secrets
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from fluxport.auth.signing import sign_v2
from fluxport.config import DEVELOPMENT_SECRET
from fluxport.errors import Broken
from fluxport.samples.sensors import POINTS, SENSORS

_QUERY = "SELECT id, name, email, created_at, score FROM users ORDER BY id"


def run_checks(base: str, rows: int, folder: Path) -> None:
    """Print a line per format; raise Broken at the first wrong file."""
    click.echo(f"{'format':<12}{'rows':>12}{'bytes':>14}{'seconds':>9}{'rows/s':>13}  read back by")
    for name, compression in [*((name, "none") for name in _READERS), ("csv", "gzip"), ("csv", "zstd")]:
        label = name if compression == "none" else f"{name}+{compression}"
        body: dict[str, object] = {"source": {"query": _QUERY}, "format": name, "compression": compression}
        reader, read = _READERS[name]
        _check(label, base, body, folder, reader, lambda path, read=read, c=compression: read(path, c), rows)  # type: ignore[misc]  # mypy infers no lambda with defaults
    sensor: dict[str, object] = {"source": {"sensor_id": SENSORS[0].id}, "format": "csv"}
    _check("sensor csv", base, sensor, folder, "DuckDB", _points_by_duckdb, POINTS)
    click.echo("Every file is complete: rows, bytes and SHA-256 agree with what the service reported.")


def _check(
    label: str,
    base: str,
    body: dict[str, object],
    folder: Path,
    reader: str,
    read: Callable[[Path], tuple[int, int]],
    rows: int,
) -> None:
    """Export, read back, and print a line; ``read`` returns the number of rows and the sum of their numbers."""
    path = folder / label
    began = time.monotonic()
    reported = _export(base, body, path)
    seconds = time.monotonic() - began
    count, total = read(path)
    if (count, total) != (rows, rows * (rows + 1) // 2) or reported["rows"] != rows:
        raise Broken(f"{label}: {reported['rows']:,} rows reported, {count:,} read back, {rows:,} expected.")
    size = path.stat().st_size
    click.echo(f"{label:<12}{count:>12,}{size:>14,}{seconds:>9.2f}{count / max(seconds, 1e-9):>13,.0f}  {reader}")
    path.unlink()


def _points_by_duckdb(path: Path) -> tuple[int, int]:
    """The number of points, and the sum of 1, 2, ... if they are one second apart."""
    import duckdb

    number = "(timestamp_ms - min(timestamp_ms) OVER ()) // 1000 + 1"
    statement = f"SELECT count(*), coalesce(sum(n), 0) FROM (SELECT {number} AS n FROM read_csv(?))"  # noqa: S608  constants of this file
    row = duckdb.connect().execute(statement, [str(path)]).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def _export(base: str, body: dict[str, object], path: Path) -> dict[str, Any]:
    """Stream one export to ``path``; returns the service's record of the file, after comparing it with the bytes."""
    payload = json.dumps(body).encode()
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=600)
    connection.request("POST", "/v1/stream", payload, _signed("POST", "/v1/stream", payload))
    response = connection.getresponse()
    if response.status != 200:
        raise Broken(
            f"POST /v1/stream responded with {response.status}: {response.read(2000).decode(errors='replace')}."
        )
    digest = hashlib.sha256()
    with path.open("wb") as file:
        while chunk := response.read1(1 << 20):
            digest.update(chunk)
            file.write(chunk)
    where = f"/v1/exports/{response.headers['X-Export-Id']}"
    connection.request("GET", where, headers=_signed("GET", where, b""))
    job = json.load(connection.getresponse())
    connection.close()
    file_json: dict[str, Any] = job["files"][0] if job["status"] == "completed" else {}
    if (file_json.get("bytes"), file_json.get("sha256")) != (path.stat().st_size, digest.hexdigest()):
        raise Broken(f"The service recorded a different file than arrived: {job['status']}, {job['error']}.")
    return file_json


def _signed(method: str, target: str, body: bytes) -> dict[str, str]:
    return sign_v2(DEVELOPMENT_SECRET, "default", method, target, body, int(time.time()), secrets.token_urlsafe(18))


def _by_duckdb(function: str) -> Callable[[Path, str], tuple[int, int]]:
    def read(path: Path, compression: str) -> tuple[int, int]:
        import duckdb

        options = f", compression='{compression}'" if function == "read_csv" else ""
        statement = f"SELECT count(*), coalesce(sum(id), 0) FROM {function}(?{options})"  # noqa: S608  ours alone
        row = duckdb.connect().execute(statement, [str(path)]).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    return read


def _by_pyarrow(path: Path, compression: str) -> tuple[int, int]:
    import pyarrow as pa

    from fluxport import compute as pc

    count = total = 0
    with pa.ipc.open_stream(path) as reader:
        for batch in reader:
            count += batch.num_rows
            total += pc.sum(batch.column("id")).as_py() or 0
    return count, total


def _by_zipfile(path: Path, compression: str) -> tuple[int, int]:
    """The number of rows after the header and the sum of column A, from the sheets' XML."""
    count = total = 0
    with zipfile.ZipFile(path) as archive:
        if (bad := archive.testzip()) is not None:
            raise Broken(f"{path.name}: {bad} is damaged.")
        for name in archive.namelist():
            if not re.fullmatch(r"xl/worksheets/sheet\d+\.xml", name):
                continue
            rest = b""
            with archive.open(name) as sheet:
                while block := sheet.read(1 << 20):
                    text, end, rest = (rest + block).rpartition(b"</row>")
                    ids = re.findall(rb'<c r="A\d+"[^>]*><v>(\d+)</v>', text + end)
                    count += len(ids)
                    total += sum(map(int, ids))
    return count, total


_READERS: dict[str, tuple[str, Callable[[Path, str], tuple[int, int]]]] = {
    "csv": ("DuckDB", _by_duckdb("read_csv")),
    "tsv": ("DuckDB", _by_duckdb("read_csv")),
    "jsonl": ("DuckDB", _by_duckdb("read_json")),
    "json": ("DuckDB", _by_duckdb("read_json")),
    "xlsx": ("zipfile", _by_zipfile),
    "parquet": ("DuckDB", _by_duckdb("read_parquet")),
    "arrow": ("pyarrow", _by_pyarrow),
}
