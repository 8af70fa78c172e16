"""A folder of files for DuckDB, and what a statement must never reach beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from fluxport.findings import Findings
from fluxport.sources import SourceOptions, open_source
from fluxport.sources.table import Files
from fluxport.stages import Limits

CANARY = "canary-7f3a"


def make_lake(place: Path) -> Path:
    """The folder ``place``/lake with files of every kind, beside files with the canary."""
    lake = place / "lake"
    (lake / "orders" / "2024").mkdir(parents=True)
    with duckdb.connect() as connection:
        rows = "(SELECT i AS id, 'item ' || i AS name FROM range({}, {}) r (i))"
        connection.execute(f"COPY {rows.format(0, 10)} TO '{lake}/orders/2024/a.parquet'")
        connection.execute(f"COPY {rows.format(10, 15)} TO '{lake}/orders/2024/b.parquet'")
        connection.execute(f"COPY {rows.format(0, 3)} TO '{lake}/items.csv'")
        connection.execute(f"COPY {rows.format(0, 4)} TO '{lake}/items.json'")
        for suffix in ("csv", "parquet"):
            connection.execute(f"COPY (SELECT '{CANARY}' AS v) TO '{place}/secret.{suffix}'")
    table = pa.table({"id": [1, 2, 3], "name": ["x", "y", None]})
    with pa.ipc.new_file(str(lake / "file.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    with pa.ipc.new_stream(str(lake / "stream.arrows"), table.schema) as stream:
        stream.write_table(table)
    (place / "secret.arrow").write_bytes((lake / "file.arrow").read_bytes().replace(b"x", b"X"))
    (lake / "link.csv").symlink_to(place / "secret.csv")
    (lake / "link.arrow").symlink_to(place / "secret.arrow")
    (lake / "linked").symlink_to(place)
    return lake


def contents(place: Path) -> dict[str, str]:
    """The digest of every file below ``place``, by its path."""
    files = sorted(path for path in place.rglob("*") if path.is_file())
    return {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read(query: str, params: Any = (), *, url: str = "duckdb:", files: Files = None, **named: Any) -> pa.Table:
    """The rows of ``query``."""
    limits, findings = named.pop("limits", Limits()), named.pop("findings", Findings())
    options = SourceOptions(files=files, **named)
    source = open_source(url, query, params, options=options, findings=findings, limits=limits)
    try:
        return pa.Table.from_batches(list(source.batches()), source.schema)
    finally:
        source.close()
