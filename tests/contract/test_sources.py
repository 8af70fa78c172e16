"""The contract of Source, run on every implementation: schema, batches, a proved end, and close() at any moment."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest

from fluxport.errors import Canceled, Refused
from fluxport.findings import Findings
from fluxport.sources import SourceOptions, open_source
from fluxport.stages import Limits, Source
from mysql_support import scratch_database, wait_until
from postgres_support import scratch_postgres
from processes import descriptors


@dataclass
class Kind:
    """An implementation: how to open a query, queries of a known result, and the connections that the server has.

    ``numbers(n)``: n rows with ``id`` from 1 and ``label`` "row <id>". ``endless``: a query that gives no row for long.
    ``many``: rows that no batch or buffer holds. SQLite has one error code for everything that it cannot prepare.
    """

    open: Callable[[str], Source]
    numbers: Callable[[int], str]
    endless: str
    running: Callable[[], int]
    many: int = 5_000_000
    syntax_error: str = "syntax_error"


@contextmanager
def mysql(options: str) -> Iterator[Kind]:
    with scratch_database() as database:
        yield Kind(
            open=lambda query: open_source(database.url + options, query, findings=Findings(), limits=Limits()),
            numbers=lambda n: f"SELECT seq AS id, CONCAT('row ', seq) AS label FROM seq_1_to_{n}",
            endless="SELECT SLEEP(60) AS s",
            running=lambda: len(database.connections()),
        )


@contextmanager
def postgres() -> Iterator[Kind]:
    with scratch_postgres() as database:
        yield Kind(
            open=lambda query: open_source(database.url, query, findings=Findings(), limits=Limits()),
            numbers=lambda n: f"SELECT g AS id, 'row ' || g AS label FROM generate_series(1, {n}) AS g",
            endless="SELECT pg_sleep(60) AS s",
            running=lambda: len(database.backends()),
        )


@contextmanager
def sqlite(options: SourceOptions) -> Iterator[Kind]:
    numbers = "WITH RECURSIVE s (g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s WHERE g < {}) "
    with TemporaryDirectory() as folder:
        file = Path(folder, "numbers.db")
        sqlite3.connect(file).close()
        yield Kind(
            open=lambda query: open_source(f"sqlite:///{file}", query, options=options),
            numbers=lambda n: numbers.format(n) + "SELECT g AS id, 'row ' || g AS label FROM s",
            endless=numbers.format("g + 1") + "SELECT g FROM s WHERE g < 0",
            running=lambda: descriptors(file),
            many=400_000,
            syntax_error="query_failed",
        )


KINDS: dict[str, Callable[[], AbstractContextManager[Kind]]] = {
    "mysql": lambda: mysql(""),
    "mysql-text-protocol": lambda: mysql("?prepared=false"),
    "postgres": postgres,
    "sqlite": lambda: sqlite(SourceOptions()),
    "sqlite-separate": lambda: sqlite(SourceOptions(separate=True)),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    with KINDS[request.param]() as made:
        yield made


def rows_of(source: Source) -> list[dict[str, object]]:
    return [row for batch in source.batches() for row in batch.to_pylist()]


def test_the_schema_comes_before_the_rows_and_is_that_of_every_batch(kind: Kind) -> None:
    source = kind.open(kind.numbers(20_000))
    schema = source.schema
    assert schema.names == ["id", "label"]
    assert pa.types.is_integer(schema.field("id").type)
    assert {batch.schema for batch in source.batches()} == {schema}


def test_all_rows_come_in_order(kind: Kind) -> None:
    rows = rows_of(kind.open(kind.numbers(100_000)))
    assert len(rows) == 100_000
    assert all(row == {"id": n, "label": f"row {n}"} for n, row in enumerate(rows, 1))


def test_the_first_batch_is_early_and_none_is_large(kind: Kind) -> None:
    source = kind.open(kind.numbers(200_000))
    sizes = [batch.nbytes for batch in source.batches()]
    assert sizes[0] <= max(sizes)
    assert max(sizes) < 4 << 20
    assert len(sizes) > 3


def test_batches_do_not_share_memory_that_is_written_over(kind: Kind) -> None:
    """A batch kept is still itself when the last one has come."""
    held = list(kind.open(kind.numbers(100_000)).batches())
    ids = pa.Table.from_batches(held)["id"].to_pylist()
    assert ids == list(range(1, 100_001))


def test_no_rows_have_a_schema(kind: Kind) -> None:
    source = kind.open(kind.numbers(10) + " WHERE 1 = 0")
    assert source.schema.names == ["id", "label"]
    assert rows_of(source) == []


def test_nothing_is_connected_before_the_schema_is_read(kind: Kind) -> None:
    assert wait_until(lambda: kind.running() == 0)  # what the tests before it had
    source = kind.open(kind.numbers(10))
    assert kind.running() == 0
    source.close()


def test_nothing_is_left_after_the_end(kind: Kind) -> None:
    rows_of(kind.open(kind.numbers(1000)))
    assert wait_until(lambda: kind.running() == 0)


def test_closing_the_generator_early_ends_the_query(kind: Kind) -> None:
    source = kind.open(kind.numbers(kind.many))
    batches = source.batches()
    next(batches)
    assert kind.running() == 1
    batches.close()
    assert wait_until(lambda: kind.running() == 0, 2)


def test_close_before_the_schema_and_twice(kind: Kind) -> None:
    source = kind.open(kind.numbers(10))
    source.close()
    source.close()
    with pytest.raises(Canceled):
        _ = source.schema


def test_close_between_schema_and_batches(kind: Kind) -> None:
    source = kind.open(kind.numbers(kind.many))
    assert source.schema.names
    source.close()
    source.close()
    with pytest.raises(Canceled):
        next(source.batches())
    assert wait_until(lambda: kind.running() == 0, 2)


def test_close_between_batches(kind: Kind) -> None:
    source = kind.open(kind.numbers(kind.many))
    batches = source.batches()
    next(batches)
    source.close()
    with pytest.raises(Canceled):
        next(batches)
    assert wait_until(lambda: kind.running() == 0, 2)


@pytest.mark.parametrize("pulling", ["schema", "batches"])
def test_close_wakes_a_pull_that_waits_and_ends_the_query(kind: Kind, pulling: str) -> None:
    source = kind.open(kind.endless)
    raised: list[BaseException] = []

    def pull() -> None:
        try:
            _ = source.schema if pulling == "schema" else list(source.batches())
            list(source.batches())
        except BaseException as error:  # noqa: BLE001  looked at below
            raised.append(error)

    thread = threading.Thread(target=pull)
    thread.start()
    assert wait_until(lambda: kind.running() == 1)
    source.close()
    thread.join(5)
    assert not thread.is_alive()
    assert [type(error) for error in raised] == [Canceled]
    assert wait_until(lambda: kind.running() == 0, 2)


def test_close_from_many_threads_at_once(kind: Kind) -> None:
    source = kind.open(kind.numbers(kind.many))
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
    assert wait_until(lambda: kind.running() == 0, 2)


def test_close_after_the_end_is_nothing(kind: Kind) -> None:
    source = kind.open(kind.numbers(10))
    assert len(rows_of(source)) == 10
    source.close()
    source.close()


def test_a_rejected_query_comes_from_the_schema_and_leaves_nothing(kind: Kind) -> None:
    source = kind.open("SELECT FROM WHERE")
    with pytest.raises(Refused) as caught:
        _ = source.schema
    assert caught.value.code == kind.syntax_error
    source.close()
    assert wait_until(lambda: kind.running() == 0)
