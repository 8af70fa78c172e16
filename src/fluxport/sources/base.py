"""The common part of sources that hold something open: threads, cancellation, deadline and limits.

One thread at a time opens and reads; any thread may close::

    reading thread   schema: open() | read() | read() ...... | -> Canceled, free()
    closing thread                           close(): interrupt(), until the reading thread returns
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, TypeVar

from fluxport.errors import FluxportError
from fluxport.sources.errors import canceled, check_cells, late
from fluxport.stages import Batches, Limits

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

AGAIN_S = 0.05  # between two interrupts: one that comes between two waits of the reading thread is lost


class BaseSource(ABC):
    """A :class:`fluxport.stages.Source`; a subclass defines how to open, read, interrupt and free it.

    ``limits.deadline_s`` counts from the call of ``open``. A batch with a cell beyond ``limits.cell_bytes_max`` raises
    LimitExceeded. An error that the subclass raises after close() becomes Canceled, after the deadline TimedOut.
    Private names have two underscores, so that a subclass may use any other.
    """

    # How long close() waits for the reading thread. A thread that returns later frees the source itself.
    close_wait_s: ClassVar[float] = 2.0

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits if limits is not None else Limits()
        self.deadline: float | None = None  # on the clock of time.monotonic(); set before open()
        self.rows = 0  # in the batches returned by read()
        self.__closed = False
        self.__opened = False  # from the call of open() to that of free()
        self.__busy = threading.Lock()  # held while a thread opens, reads or frees
        self.__reader: int | None = None  # that thread
        self.__lock = threading.RLock()  # held during interrupt() and free()
        self.__schema: pa.Schema | None = None

    # -- what a subclass defines -------------------------------------------------------------------------------------

    @abstractmethod
    def open(self) -> pa.Schema:
        """Connect, start the query and return its columns."""

    @abstractmethod
    def read(self) -> pa.RecordBatch | None:
        """The next batch; None after the source's own explicit end of rows."""

    @abstractmethod
    def free(self) -> None:
        """End the query and disconnect; called once after ``open`` began, also if it failed, and by any thread, but
        never while another method runs."""

    def interrupt(self) -> None:  # noqa: B027  optional
        """Make ``open`` or ``read`` return or raise in the thread that runs it; called repeatedly until it does. The
        default does nothing: enough for a subclass that calls ``check`` between short waits."""

    def translate(self, error: Exception) -> None:  # noqa: B027  optional
        """Raise the error of ``fluxport.errors`` that ``error`` means; return if it is one, or a bug."""

    def abort_reason(self) -> FluxportError | None:
        """Canceled after close(), TimedOut after the deadline; None while reading may go on."""
        if self.__closed:
            return canceled()
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return late()
        return None

    def check(self) -> None:
        """Raise the reason to abort, if there is one."""
        if (reason := self.abort_reason()) is not None:
            raise reason

    def wake(self) -> bool:
        """Interrupt the thread in ``open`` or ``read``; False if there is none. For a source that watches the query in
        a thread of its own."""
        with self.__lock:
            reading = self.__opened and self.__busy.locked()
            if reading:
                self.interrupt()
        return reading

    # -- the source --------------------------------------------------------------------------------------------------

    @property
    def schema(self) -> pa.Schema:
        if self.__schema is None:
            self.__exclusively(self.__open)
        assert self.__schema is not None
        return self.__schema

    def batches(self) -> Batches:
        _ = self.schema
        try:
            while (batch := self.__exclusively(self.__next)) is not None:
                read = [batch]
                del batch
                yield read.pop()  # held by the consumer alone
        finally:
            self.close()

    def close(self) -> None:
        self.__closed = True
        until, wait_s = time.monotonic() + self.close_wait_s, 0.0
        while not self.__busy.acquire(timeout=wait_s):
            self.wake()
            if self.__reader == threading.get_ident() or time.monotonic() >= until:
                return
            wait_s = AGAIN_S
        try:
            self.__free()
        finally:
            self.__busy.release()

    def __open(self) -> None:
        if self.__schema is None:  # no other thread has opened it meanwhile
            if self.limits.deadline_s is not None:
                self.deadline = time.monotonic() + self.limits.deadline_s
            self.__opened = True
            self.__schema = self.open()

    def __next(self) -> pa.RecordBatch | None:
        batch = self.read()
        if batch is not None:
            check_cells(batch, self.limits.cell_bytes_max, self.rows)
            self.rows += batch.num_rows
        return batch

    def __exclusively(self, work: Callable[[], T]) -> T:
        """The result of ``work``; frees the source on any error."""
        with self.__busy:
            self.__reader = threading.get_ident()
            try:
                with self.__translated():
                    self.check()
                    result = work()
                    if self.__closed:
                        raise canceled()  # a query that was interrupted may look complete
                    return result
            except BaseException:
                self.__free()
                raise
            finally:
                self.__reader = None

    @contextmanager
    def __translated(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if (reason := self.abort_reason()) is not None:
                raise reason from None
            self.translate(error)
            raise

    def __free(self) -> None:
        with self.__lock:
            if self.__opened:
                self.__opened = False
                self.free()
