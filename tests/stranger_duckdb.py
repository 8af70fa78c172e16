"""DuckDB files for Fluxport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fluxport.errors import QueryFailed, Refused
from fluxport.findings import Findings
from fluxport.sources import Params, SourceEntry, SourceOptions
from fluxport.sources.base import BaseSource
from fluxport.stages import Limits

if TYPE_CHECKING:
    import pyarrow as pa

DUCKDB = SourceEntry(__name__, "DuckDbSource", "DuckDB", "duckdb:///file.duckdb", dialect="duckdb")


class DuckDbSource(BaseSource):
    def __init__(
        self, url: str, query: str, params: Params, options: SourceOptions, findings: Findings, limits: Limits
    ) -> None:
        super().__init__(limits)
        self._path, self._query, self._params = url.removeprefix("duckdb:///"), query, params
        self._connection: Any = None
        self._reader: pa.RecordBatchReader | None = None

    def open(self) -> pa.Schema:
        import duckdb

        self._connection = duckdb.connect(self._path, read_only=True)
        rows = self._connection.sql(self._query, params=self._params or None)
        if rows is None:
            raise Refused("The statement returns no rows; an export takes a SELECT.", code="no_result_set")
        self._reader = rows.to_arrow_reader(10_000)
        return self._reader.schema

    def read(self) -> pa.RecordBatch | None:
        assert self._reader is not None
        return next(self._reader, None)

    def interrupt(self) -> None:
        if self._connection is not None:
            self._connection.interrupt()

    def free(self) -> None:
        self._reader = None
        if self._connection is not None:
            self._connection.close()

    def translate(self, error: Exception) -> None:
        import duckdb

        if isinstance(error, duckdb.Error):
            raise QueryFailed("DuckDB rejected the query.", detail=str(error)) from None
