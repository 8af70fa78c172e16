"""The common part of sources, where a contract of queries does not reach: threads that meet, errors, limits."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pyarrow as pa
import pytest

from fluxport.errors import Canceled, LimitExceeded, TimedOut, Unavailable
from fluxport.sources.base import BaseSource
from fluxport.stages import Limits

BATCH = pa.record_batch({"text": ["a", "bb"]})


class Steps(BaseSource):
    """Each of ``steps`` is one read; ``calls`` has the calls of the other methods in order."""

    def __init__(self, *steps: Callable[[], pa.RecordBatch | None], limits: Limits | None = None) -> None:
        super().__init__(limits)
        self.steps = iter(steps)
        self.calls: list[str] = []
        self.interrupts = threading.Semaphore(0)
        self.freed_by: int | None = None

    def open(self) -> pa.Schema:
        self.calls.append("open")
        return BATCH.schema

    def read(self) -> pa.RecordBatch | None:
        return next(self.steps)()

    def interrupt(self) -> None:
        self.interrupts.release()

    def free(self) -> None:
        self.calls.append("free")
        self.freed_by = threading.get_ident()

    def translate(self, error: Exception) -> None:
        if isinstance(error, OSError):
            raise Unavailable("The disk is gone.", code="source_lost") from None


def batch() -> pa.RecordBatch:
    return BATCH


def end() -> None:
    return None


def raising(error: BaseException) -> Callable[[], pa.RecordBatch]:
    def raises() -> pa.RecordBatch:
        raise error

    return raises


class Reader:
    """A thread that pulls until ``source`` ends; ``entered`` is set once it is in the read ``waiting``."""

    def __init__(self, waiting: Callable[[Reader], pa.RecordBatch]) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.error: BaseException | None = None

        def read() -> pa.RecordBatch:
            self.entered.set()
            return waiting(self)

        self.source = Steps(read)
        self.thread = threading.Thread(target=self._pull)
        self.thread.start()
        self.entered.wait()

    def _pull(self) -> None:
        try:
            list(self.source.batches())
        except BaseException as error:  # noqa: BLE001  looked at by the test
            self.error = error


def test_an_interrupt_that_is_lost_is_repeated() -> None:
    """The reader wakes up only by the third."""

    def third(reader: Reader) -> pa.RecordBatch:
        for _ in range(3):
            reader.source.interrupts.acquire()
        return BATCH

    reader = Reader(third)
    reader.source.close()
    reader.thread.join()
    assert isinstance(reader.error, Canceled)
    assert reader.source.calls == ["open", "free"]


def test_a_reader_that_does_not_wake_up_in_time_frees_the_source_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is freed beside a read."""
    monkeypatch.setattr(Steps, "close_wait_s", 0.0)

    def deaf(reader: Reader) -> pa.RecordBatch:
        reader.leave.wait()
        return BATCH

    reader = Reader(deaf)
    reader.source.close()
    assert reader.source.calls == ["open"]
    reader.leave.set()
    reader.thread.join()
    assert isinstance(reader.error, Canceled)
    assert reader.source.calls == ["open", "free"]
    assert reader.source.freed_by == reader.thread.ident


def test_close_by_the_reading_thread_does_not_wait_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a signal handler, or an iterator that a source pulls."""
    monkeypatch.setattr(Steps, "close_wait_s", threading.TIMEOUT_MAX)

    def closes() -> pa.RecordBatch:
        source.close()
        source.close()
        assert source.calls == ["open"]
        return BATCH

    source = Steps(closes)
    with pytest.raises(Canceled):
        list(source.batches())
    assert source.calls == ["open", "free"]


def test_nothing_is_interrupted_that_does_not_read() -> None:
    source = Steps(batch, batch, end)
    batches = source.batches()
    next(batches)
    source.close()
    assert source.calls == ["open", "free"]
    assert not source.interrupts.acquire(blocking=False)


def test_what_was_opened_is_freed_once_however_often_it_is_closed() -> None:
    source = Steps(batch, end)
    source.close()
    assert source.calls == []
    source = Steps(batch, end)
    assert [b.num_rows for b in source.batches()] == [2]
    source.close()
    source.close()
    assert source.calls == ["open", "free"]


def test_only_one_of_two_threads_opens() -> None:
    source = Steps()
    both = threading.Barrier(2)

    def read() -> None:
        both.wait()
        _ = source.schema

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.calls == ["open"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("secret"), Unavailable),
        (LimitExceeded("Too large."), LimitExceeded),
        (KeyError("a bug"), KeyError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_an_error_is_translated_and_frees_the_source(error: BaseException, expected: type[BaseException]) -> None:
    source = Steps(batch, raising(error))
    with pytest.raises(expected) as caught:
        list(source.batches())
    assert source.calls == ["open", "free"]
    assert (caught.value is error) == (expected is not Unavailable)


def test_an_error_in_open_frees_what_it_had_opened() -> None:
    class Refusing(Steps):
        def open(self) -> pa.Schema:
            super().open()
            raise OSError

    source = Refusing()
    for _ in range(2):
        with pytest.raises(Unavailable):
            _ = source.schema
    assert source.calls == ["open", "free", "open", "free"]


@pytest.mark.parametrize("read", [raising(OSError()), raising(KeyError()), batch, end])
def test_after_close_every_outcome_is_canceled(read: Callable[[], pa.RecordBatch | None]) -> None:
    def closed() -> pa.RecordBatch | None:
        source.close()
        return read()

    source = Steps(closed)
    with pytest.raises(Canceled):
        list(source.batches())


def test_the_deadline_counts_from_the_opening() -> None:
    source = Steps(batch, limits=Limits(deadline_s=0.0))
    assert source.deadline is None
    assert source.schema == BATCH.schema
    with pytest.raises(TimedOut) as caught:
        next(source.batches())
    assert (caught.value.code, caught.value.again) == ("deadline", False)
    assert source.calls == ["open", "free"]


def test_an_error_after_the_deadline_is_the_deadline() -> None:
    def fails() -> pa.RecordBatch:
        source.deadline = 0.0
        raise OSError

    source = Steps(fails)
    with pytest.raises(TimedOut):
        list(source.batches())


def test_a_cell_beyond_the_limit_is_refused_with_its_row_among_all() -> None:
    large = pa.record_batch({"text": ["a", "x" * 101]})
    source = Steps(batch, batch, lambda: large, limits=Limits(cell_bytes_max=100))
    with pytest.raises(
        LimitExceeded, match=r"Column 'text', row 6 holds a cell of 101 bytes; the limit is 100\."
    ) as caught:
        list(source.batches())
    assert caught.value.code == "cell_too_large"
    assert source.calls == ["open", "free"]
