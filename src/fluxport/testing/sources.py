"""The contract of a source: schema, batches, a verified end, and close() at any time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from fluxport.errors import Canceled, LimitExceeded, Refused, TimedOut
from fluxport.stages import Limits, Source

WIDE_BATCH_BYTES_MAX = 8 << 20


@dataclass
class SourceCase:
    """The source under test: how to open a query, queries with known results, and ``running``, which counts the
    connections on the server.

    ``numbers(n)``: n rows with ``id`` from 1 and ``label`` "row <id>". ``endless``: a query without a row for a long
    time. ``many``: more rows than any batch or buffer holds, ``rows``: those of several batches.
    ``rejected``: statements that the database rejects, each with the code of its error; each has a name with "no_such"
    in it, or a text with "secret" in it, that no message may repeat.
    ``limited`` opens a query with limits; None for a source that leaves them to the pipeline. ``wide(columns, n)``: n
    rows whose columns are those of :func:`wide_value`, in turns; None for a source with few columns.
    """

    open: Callable[[str], Source]
    numbers: Callable[[int], str]
    endless: str
    running: Callable[[], int]
    many: int = 5_000_000
    rows: int = 100_000
    syntax_error: str = "syntax_error"
    rejected: Mapping[str, str] = field(default_factory=dict)
    limited: Callable[[str, Limits], Source] | None = None
    wide: Callable[[int, int], str] | None = None

    def open_limited(self, query: str, **limits: Any) -> Source:
        if self.limited is None:
            pytest.skip("The source takes no limits (SourceCase.limited).")
        return self.limited(query, Limits(**limits))


def wide_value(column: int, row: int) -> int | float | str | None:
    """The value of a column (from 0) of :attr:`SourceCase.wide` in a row (from 1): an integer, a double, a text, an
    integer or NULL, a text or NULL."""
    values = (row * 1000 + column, row * 0.5 + column, f"row {row} of {column}", row - column, "é" * (row % 5))
    return None if column % 5 > 2 and (row + column) % 3 == 0 else values[column % 5]


def rows_of(source: Source) -> list[dict[str, object]]:
    return [row for batch in source.batches() for row in batch.to_pylist()]


def wait_until(condition: Callable[..., Any], seconds: float = 30.0) -> bool:
    """Whether ``condition()`` became true within ``seconds``; polls state that a server does not announce, less often
    the longer it takes, as what is asked needs the processor itself."""
    began = time.monotonic()
    tick = threading.Event()
    while not condition():
        waited = time.monotonic() - began
        if waited > seconds:
            return False
        tick.wait(min(0.1, max(0.01, waited / 8)))
    return True


class SourceContract:
    """The requirements for every source. Subclass it in a test file, with a fixture ``subject``."""

    def test_the_schema_comes_before_the_rows_and_is_that_of_every_batch(self, subject: SourceCase) -> None:
        source = subject.open(subject.numbers(20_000))
        schema = source.schema
        assert schema.names == ["id", "label"]
        assert pa.types.is_integer(schema.field("id").type)
        assert {batch.schema for batch in source.batches()} == {schema}

    def test_all_rows_come_in_order(self, subject: SourceCase) -> None:
        rows = rows_of(subject.open(subject.numbers(subject.rows)))
        assert len(rows) == subject.rows
        assert all(row == {"id": n, "label": f"row {n}"} for n, row in enumerate(rows, 1))

    def test_a_thousand_columns_of_all_types_come_as_they_were_sent(self, subject: SourceCase) -> None:
        """Nulls among them, in batches no larger than others."""
        if subject.wide is None:
            pytest.skip("The source has few columns (SourceCase.wide).")
        batches = list(subject.open(subject.wide(1000, 400)).batches())
        assert max(batch.nbytes for batch in batches) < WIDE_BATCH_BYTES_MAX
        table = pa.Table.from_batches(batches)
        assert (table.num_rows, table.num_columns) == (400, 1000)
        for index, column in enumerate(table.columns):
            assert column.to_pylist() == [wide_value(index, row) for row in range(1, 401)], index

    def test_the_first_batch_is_early_and_none_is_large(self, subject: SourceCase) -> None:
        source = subject.open(subject.numbers(2 * subject.rows))
        sizes = [batch.nbytes for batch in source.batches()]
        assert sizes[0] <= max(sizes)
        assert max(sizes) < 4 << 20
        assert len(sizes) > 3

    def test_batches_do_not_share_memory_that_is_written_over(self, subject: SourceCase) -> None:
        """A batch is unchanged after later ones have been read."""
        held = list(subject.open(subject.numbers(subject.rows)).batches())
        ids = pa.Table.from_batches(held)["id"].to_pylist()
        assert ids == list(range(1, subject.rows + 1))

    def test_no_rows_have_a_schema(self, subject: SourceCase) -> None:
        source = subject.open(subject.numbers(10) + " WHERE 1 = 0")
        assert source.schema.names == ["id", "label"]
        assert rows_of(source) == []

    def test_nothing_is_connected_before_the_schema_is_read(self, subject: SourceCase) -> None:
        assert wait_until(lambda: subject.running() == 0)  # those of earlier tests
        source = subject.open(subject.numbers(10))
        assert subject.running() == 0
        source.close()

    def test_nothing_is_left_after_the_end(self, subject: SourceCase) -> None:
        rows_of(subject.open(subject.numbers(1000)))
        assert wait_until(lambda: subject.running() == 0)

    def test_closing_the_generator_early_ends_the_query(self, subject: SourceCase) -> None:
        source = subject.open(subject.numbers(subject.many))
        batches = source.batches()
        next(batches)
        assert subject.running() == 1
        batches.close()
        assert wait_until(lambda: subject.running() == 0, 2)

    def test_close_before_the_schema_and_twice(self, subject: SourceCase) -> None:
        source = subject.open(subject.numbers(10))
        source.close()
        source.close()
        with pytest.raises(Canceled):
            _ = source.schema

    def test_close_between_schema_and_batches(self, subject: SourceCase) -> None:
        source = subject.open(subject.numbers(subject.many))
        assert source.schema.names
        source.close()
        source.close()
        with pytest.raises(Canceled):
            next(source.batches())
        assert wait_until(lambda: subject.running() == 0, 2)

    def test_close_between_batches(self, subject: SourceCase) -> None:
        source = subject.open(subject.numbers(subject.many))
        batches = source.batches()
        next(batches)
        source.close()
        with pytest.raises(Canceled):
            next(batches)
        assert wait_until(lambda: subject.running() == 0, 2)

    @pytest.mark.parametrize("pulling", ["schema", "batches"])
    def test_close_wakes_a_pull_that_waits_and_ends_the_query(self, subject: SourceCase, pulling: str) -> None:
        source = subject.open(subject.endless)
        raised: list[BaseException] = []

        def pull() -> None:
            try:
                _ = source.schema if pulling == "schema" else list(source.batches())
                list(source.batches())
            except BaseException as error:  # noqa: BLE001  checked below
                raised.append(error)

        thread = threading.Thread(target=pull)
        thread.start()
        assert wait_until(lambda: subject.running() == 1)
        source.close()
        thread.join(5)
        assert not thread.is_alive()
        assert [type(error) for error in raised] == [Canceled]
        assert wait_until(lambda: subject.running() == 0, 2)

    def test_close_from_many_threads_at_once(self, subject: SourceCase) -> None:
        source = subject.open(subject.numbers(subject.many))
        batches = source.batches()
        next(batches)
        threads = [threading.Thread(target=source.close) for _ in range(8)]
        for thread in threads:
            thread.start()
        with pytest.raises(Canceled):
            for _ in batches:
                pass
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()
        assert wait_until(lambda: subject.running() == 0, 2)

    def test_close_after_the_end_does_nothing(self, subject: SourceCase) -> None:
        source = subject.open(subject.numbers(10))
        assert len(rows_of(source)) == 10
        source.close()
        source.close()

    def test_a_rejected_query_comes_from_the_schema_and_leaves_nothing(self, subject: SourceCase) -> None:
        source = subject.open("SELECT FROM WHERE")
        with pytest.raises(Refused) as caught:
            _ = source.schema
        assert caught.value.code == subject.syntax_error
        source.close()
        assert wait_until(lambda: subject.running() == 0)

    def test_a_rejected_statement_has_one_sentence_that_quotes_nothing_of_it(self, subject: SourceCase) -> None:
        """Two statements, a write, a procedure, unknown names, a value that a type does not hold."""
        if not subject.rejected:
            pytest.skip("No rejected statements are declared (SourceCase.rejected).")
        ends = {}
        for statement in subject.rejected:
            with pytest.raises(Refused) as caught:
                rows_of(subject.open(statement))
            ends[statement] = caught.value.code
            message = caught.value.message
            assert message.endswith("."), message
            assert "\n" not in message
            assert not any(word in message for word in ("no_such", "secret", "Traceback")), message
            assert not caught.value.retryable, statement
        assert ends == dict(subject.rejected)
        assert wait_until(lambda: subject.running() == 0)

    def test_the_deadline_ends_a_query_without_rows(self, subject: SourceCase) -> None:
        source = subject.open_limited(subject.endless, deadline_s=1.0)
        with pytest.raises(TimedOut) as caught:
            list(source.batches())
        assert (caught.value.code, caught.value.again) == ("deadline", False)
        assert wait_until(lambda: subject.running() == 0)

    def test_a_cell_beyond_the_limit_is_refused_with_row_and_column(self, subject: SourceCase) -> None:
        source = subject.open_limited(subject.numbers(20), cell_bytes_max=5)
        with pytest.raises(LimitExceeded, match="Column 'label', row 10 holds a cell of 6 bytes") as caught:
            list(source.batches())
        assert caught.value.code == "cell_too_large"
        assert wait_until(lambda: subject.running() == 0)
