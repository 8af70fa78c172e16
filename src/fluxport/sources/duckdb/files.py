"""Files that DuckDB itself does not read, as tables with their name: Excel, and Arrow IPC as a file or as a stream.

DuckDB takes a quoted name for a table before it looks for a file, and reads an Arrow stream batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxport.errors import QueryFailed
from fluxport.findings import Findings
from fluxport.sources.duckdb import engine

if TYPE_CHECKING:
    from fluxport.sources.table import Files

_ENDINGS = frozenset({".arrow", ".arrows", ".feather", ".xlsx"})
_FILE_MARK = b"ARROW1"


def tables(connection: Any, statement: str, files: Files, findings: Findings) -> Iterator[tuple[str, Any]]:
    """Name and rows of each such file that ``statement`` reads as a table, and may read; what is lost of one is a
    finding."""
    for name in dict.fromkeys(engine.table_names(connection, statement)):
        path = Path(name)
        if path.suffix.lower() in _ENDINGS and path.is_file():
            if isinstance(files, Path) and not path.resolve().is_relative_to(files):
                raise QueryFailed(
                    "The query names a file that this connection may not read.",
                    code="permission_denied",
                )
            yield name, _excel(path, findings) if path.suffix.lower() == ".xlsx" else ArrowFile(path)


def _excel(path: Path, findings: Findings) -> Any:
    from fluxport.sources.duckdb.excel import ExcelFile, error_cells

    sheet = ExcelFile(path)
    if count := error_cells(path):
        findings.add("error_cell_null", count=count, origin=path.name)
    return sheet


class ArrowFile:
    """The rows of an Arrow file; each reader of its stream begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        import pyarrow as pa

        mapped = pa.memory_map(str(self._path))
        if mapped.read(len(_FILE_MARK)) == _FILE_MARK:
            mapped.seek(0)
            file = pa.ipc.open_file(mapped)
            batches = (file.get_batch(number) for number in range(file.num_record_batches))
            reader = pa.RecordBatchReader.from_batches(file.schema, batches)
        else:
            mapped.seek(0)
            reader = pa.ipc.open_stream(mapped)
        return reader.__arrow_c_stream__(requested_schema)
