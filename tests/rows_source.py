"""A source of rows in memory that can end in every way."""

from __future__ import annotations

import threading

import pyarrow as pa

from fluxport.errors import Canceled
from fluxport.stages import Batches


class RowsSource:
    """The batches of ``table`` cut to ``batch_rows``; raises ``error`` after ``error_after`` batches, or waits there
    until closed if ``error`` is None and ``stall`` is set."""

    def __init__(
        self,
        table: pa.Table,
        batch_rows: int = 1000,
        *,
        error: BaseException | None = None,
        error_after: int = 0,
        stall: bool = False,
    ) -> None:
        self._batches = table.to_batches(max_chunksize=batch_rows)
        self._schema = table.schema
        self._error = error
        self._error_after = error_after
        self._stall = stall
        self.closed = threading.Event()
        self.pulled = 0

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    def batches(self) -> Batches:
        for number, batch in enumerate(self._batches):
            if number == self._error_after and (self._error or self._stall):
                if self._error:
                    raise self._error
                self.closed.wait()
                raise Canceled("closed")
            self.pulled += 1
            yield batch

    def close(self) -> None:
        self.closed.set()
