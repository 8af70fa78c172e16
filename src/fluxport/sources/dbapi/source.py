"""DB-API: one query's rows from a driver's cursor, which are Python objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from fluxport.errors import FluxportError, QueryFailed
from fluxport.findings import Findings
from fluxport.sources.errors import no_result_set
from fluxport.sources.placeholders import place
from fluxport.sources.statements import TOKENS, single
from fluxport.sources.watched import WatchedSource
from fluxport.stages import Limits

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.sources.table import SourceOptions

FIRST_ROWS, BATCH_ROWS = 256, 4096
BATCH_BYTES = 1 << 20
CELL_BYTES = 8  # of any cell, besides its text
SIZED = frozenset({str, bytes, bytearray})


class Driver(Protocol):
    """A driver and its connection, made from a URL; Refused if that is wrong, or the driver's package missing."""

    waits_s: Mapping[str, float]  # timeouts of the URL by field name

    def connect(self, timeout_s: float) -> Any:
        """Connect and return a cursor, in a transaction that is never committed."""

    def declared(self, described: Sequence[Any]) -> pa.DataType | None:
        """The type of a column of ``cursor.description``; None: its values tell."""

    def has_more(self) -> bool:
        """Whether the statement has another result after the rows that were read."""

    def cancel(self) -> None:
        """Cancel the running statement, from another thread."""

    def close(self) -> None: ...

    def meaning(self, error: Exception, *, connected: bool) -> FluxportError | None:
        """The error of the product; None if ``error`` is not one of the driver."""


class DbapiSource(WatchedSource):
    """Rows of the cursor of ``driver``."""

    driver: ClassVar[type[Any]]  # its constructor takes the URL

    def __init__(
        self,
        url: str,
        query: str,
        params: Sequence[Any] | Mapping[str, Any],
        options: SourceOptions,
        findings: Findings,
        limits: Limits,
    ) -> None:
        self._driver: Driver = self.driver(url)
        waits_s = {**options.timeouts, **self._driver.waits_s}
        super().__init__(limits, waits_s.get("connect_timeout_s"), waits_s.get("read_timeout_s"))
        self._placed = place(single(query), params, TOKENS)
        self._findings = findings
        self._cursor: Any = None
        self._pending: Sequence[Sequence[Any]] = ()

    def open(self) -> pa.Schema:
        from fluxport.sources.dbapi.columns import Decoder, decided

        with self.connecting():
            self._cursor = self._driver.connect(self.connect_timeout_s)
        values = self._placed.values
        with self.waiting():
            self._cursor.execute(self._placed.joined(["?"] * len(values)), *([list(values)] if values else []))
        described = self._cursor.description
        if not described:
            raise no_result_set()
        self._pending = self._pull(FIRST_ROWS)
        cells = list(zip(*self._pending, strict=True)) or [()] * len(described)
        self._decoder = Decoder(
            [
                decided(str(entry[0]), self._driver.declared(entry), values)
                for entry, values in zip(described, cells, strict=True)
            ],
            self._findings,
        )
        return self._decoder.schema

    def read(self) -> pa.RecordBatch | None:
        rows, self._pending = self._pending or self._pull(BATCH_ROWS), ()
        if not rows:
            with self.waiting():
                more = self._driver.has_more()
            if more:
                raise QueryFailed(
                    "The statement has several results; an export takes one SELECT.", code="several_results"
                )
            return None
        return self._decoder.batch(rows)

    def interrupt(self) -> None:
        if self._cursor is not None:
            self._driver.cancel()

    def free(self) -> None:
        super().free()
        self._pending = ()
        self._driver.close()

    def translate(self, error: Exception) -> None:
        if (meaning := self._driver.meaning(error, connected=self._cursor is not None)) is not None:
            raise meaning from None
        if isinstance(error, ValueError):  # UnicodeDecodeError among them
            raise QueryFailed(
                "The driver cannot convert a value of the result, such as a time of 24:00; CAST it in the query.",
                code="bad_value",
                detail=str(error),
            ) from None

    def _pull(self, rows_max: int) -> Sequence[Sequence[Any]]:
        """The next rows, at most a batch."""
        rows: list[Sequence[Any]] = []
        size = 0
        with self.waiting():
            for row in self._cursor:
                self.heard()
                rows.append(row)
                size += CELL_BYTES * len(row)
                for cell in row:
                    if type(cell) in SIZED:
                        size += len(cell)
                if len(rows) == rows_max or size >= BATCH_BYTES:
                    break
        return rows
