"""ADBC: one query's rows as the record batches that a driver returns.

The driver is a shared library, called through the driver manager's low-level interface. Its calls block, so the source
runs in a separate process (watched.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fluxport.errors import FluxportError, Refused, Unavailable
from fluxport.findings import Findings
from fluxport.sources.adbc.drivers import BATCH_BYTES, target
from fluxport.sources.arrow import sliced
from fluxport.sources.errors import no_result_set
from fluxport.sources.placeholders import place
from fluxport.sources.statements import TOKENS, single
from fluxport.sources.watched import WatchedSource
from fluxport.stages import Limits

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.sources.table import SourceOptions


class AdbcSource(WatchedSource):
    """Rows of an ADBC driver."""

    def __init__(
        self,
        url: str,
        query: str,
        params: Sequence[Any] | Mapping[str, Any],
        options: SourceOptions,
        findings: Findings,
        limits: Limits,
    ) -> None:
        self._target = target(url)
        waits_s = {**options.timeouts, **self._target.waits_s}
        super().__init__(limits, waits_s.get("connect_timeout_s"), waits_s.get("read_timeout_s"))
        self._statement, self._values = self._target.bound(place(single(query), params, TOKENS))
        self._findings = findings
        self._handles: list[Any] = []  # in the order in which they were made
        self._running: Any = None  # the statement, once there is one
        self._reader: Any = None
        self._slices: Iterator[pa.RecordBatch] = iter(())

    def open(self) -> pa.Schema:
        from adbc_driver_manager import AdbcConnection, AdbcDatabase, AdbcStatement, Error
        from adbc_driver_manager._reader import AdbcRecordBatchReader  # raises the driver's own errors

        from fluxport.sources.adbc.columns import Columns
        from fluxport.sources.adbc.errors import refused_connection, unknown_driver

        with self.connecting():
            try:
                database = self._held(AdbcDatabase(**self._target.options))
                connection = self._held(AdbcConnection(database))
            except Error as error:
                if "[Driver Manager]" in str(error):
                    raise unknown_driver(error) from None
                raise refused_connection(error) from None
        self._running = statement = self._held(AdbcStatement(connection))
        with self.waiting():
            statement.set_options(**self._target.driver.statement)
            statement.set_sql_query(self._statement)
            if self._values:
                self._bind(self._values)
            stream, _ = statement.execute_query()
            self._reader = self._held(AdbcRecordBatchReader._import_from_c(stream.address))
            schema = self._reader.schema
        if not len(schema):
            raise no_result_set()
        self._columns = Columns(schema, self._findings)
        return self._columns.schema

    def read(self) -> pa.RecordBatch | None:
        while (batch := next(self._slices, None)) is None:
            with self.waiting():
                try:
                    whole = self._reader.read_next_batch()
                except StopIteration:
                    return None
            self._slices = sliced(whole, BATCH_BYTES)
        return self._columns.batch(batch)

    def interrupt(self) -> None:
        if self._running is not None:
            with suppress(Exception):  # not every driver can cancel
                self._running.cancel()

    def free(self) -> None:
        super().free()
        self._slices = iter(())
        for handle in reversed(self._handles):
            with suppress(Exception):  # a statement that failed, or a connection that was lost
                handle.close()

    def translate(self, error: Exception) -> None:
        import pyarrow as pa
        from adbc_driver_manager import Error

        if isinstance(error, Error):
            status, state = error.status_code.name, error.sqlstate
            raise self._failure(status, state, str(error), answered=self._reader is not None) from None
        if isinstance(error, OSError):  # a driver's that told no status, as Arrow's reader raises it
            raise self._failure("IO", None, str(error), answered=True) from None
        if isinstance(error, pa.ArrowException):
            raise Unavailable(
                "The rows of the driver cannot be read; the result cannot be trusted.",
                code="source_broken",
                detail=str(error),
            ) from None

    def _failure(self, status: str, state: str | None, detail: str, *, answered: bool) -> FluxportError:
        from fluxport.sources.adbc.errors import failed, translated

        if self._target.driver.local:
            return failed(status, detail)
        return translated(status, state, detail, answered=answered)

    def _held(self, handle: Any) -> Any:
        self._handles.append(handle)
        return handle

    def _bind(self, values: Sequence[Any]) -> None:
        import pyarrow as pa
        from adbc_driver_manager import NotSupportedError

        arrays = []
        for number, value in enumerate(values, 1):
            try:
                arrays.append(pa.array([value]))
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError):
                raise Refused(
                    f"Parameter {number} is a {type(value).__name__}, which cannot be bound.", code="bad_params"
                ) from None
        row = pa.record_batch(arrays, names=[f"p{number}" for number in range(1, len(values) + 1)])
        try:
            self._running.prepare()
            self._running.bind(row)
        except NotSupportedError as error:
            raise Refused(
                "The driver takes no parameters; write the values into the query.", code="bad_params", detail=str(error)
            ) from None
