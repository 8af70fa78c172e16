"""Sensors in a table that another program fills: the same points from MariaDB and PostgreSQL as from our store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pytest

from fluxport import wiring
from fluxport.config import load
from fluxport.errors import Canceled, Disabled, NotFound, Refused
from fluxport.plan import Sensors, check, of_sensors
from fluxport.series import Description, Extent, Points
from fluxport.series.remote import RemoteOptions, RemoteStore
from fluxport.sources.series import Selection, SeriesSource
from fluxport.spec import ExportSpec
from fluxport.stages import Limits
from mysql_support import Database, scratch_database, wait_until
from postgres_support import PostgresDatabase, scratch_postgres
from series_support import T0, csv_of, same, stored, walk

WHOLE = {"a": walk(20_000), "it's %_\\ b": walk(500, seed=2)}
TABLES = """
CREATE TABLE readings (
    sensor VARCHAR(64) NOT NULL, at_ms BIGINT NOT NULL, reading DOUBLE PRECISION, good SMALLINT NOT NULL,
    PRIMARY KEY (sensor, at_ms)
);
CREATE TABLE sensors (sensor VARCHAR(64) PRIMARY KEY, title VARCHAR(64), unit VARCHAR(16), line_no INTEGER);
"""
OPTIONS = RemoteOptions(
    "readings", "sensor", "at_ms", "reading", "good", "sensors", "title", "unit", {"line": "line_no"}
)
DESCRIBED = [("a", "Boiler", "bar", 3), ("it's %_\\ b", None, "", None)]


def rows(sensor: str, found: Points) -> Iterator[tuple[str, int, float | None, int]]:
    for ms, value, quality in zip(found.ms.tolist(), found.values.tolist(), found.quality.tolist(), strict=True):
        yield sensor, ms, None if value != value else value, quality


@contextmanager
def mariadb() -> Iterator[str]:
    with scratch_database() as database:
        fill(database)
        yield database.url


@contextmanager
def postgres() -> Iterator[str]:
    with scratch_postgres() as database:
        fill(database)
        yield database.url


def fill(database: Database | PostgresDatabase) -> None:
    for statement in TABLES.split(";")[:-1]:
        database.run(statement)
    for sensor, found in WHOLE.items():
        database.insert("INSERT INTO readings VALUES (%s, %s, %s, %s)", list(rows(sensor, found)))
    database.insert("INSERT INTO sensors VALUES (%s, %s, %s, %s)", DESCRIBED)


KINDS: dict[str, Callable[[], AbstractContextManager[str]]] = {"mariadb": mariadb, "postgres": postgres}


@pytest.fixture(scope="module", params=KINDS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with KINDS[request.param]() as made:
        yield made


def sensors_of(url: str, tmp_path: Path, options: RemoteOptions = OPTIONS) -> Sensors:
    """As configured."""
    flags = {"connections.plant.url": url, "series.connection": "plant"}
    flags |= {f"series.remote.{name}": value for name, value in vars(options).items()}
    made = wiring.sensors(load(environ={}, folder=tmp_path, flags=flags))
    assert made is not None
    return made


def test_points_come_as_they_are_in_the_table(url: str, tmp_path: Path) -> None:
    store = sensors_of(url, tmp_path).store
    for sensor, whole in WHOLE.items():
        assert same(stored(store, sensor), whole)
    a = WHOLE["a"]
    assert same(stored(store, "a", int(a.ms[5]), int(a.ms[9])), a[5:10])
    assert len(stored(store, "nobody")) == 0


def test_an_export_of_them_is_the_same_file_as_of_ours(url: str, tmp_path: Path) -> None:
    store = sensors_of(url, tmp_path).store
    spec = ExportSpec(series={"sensor_id": "a", "start_ts": T0, "end_ts": T0 + 10**10})
    export = check(spec, of_sensors(spec, lambda: store), limits=Limits()).open("export")
    assert b"".join(export.chunks()) == csv_of(WHOLE["a"])


MANY = {f"s{k:03}": walk(20 + k % 7, start=T0 + k % 5 * 1000, seed=k) for k in range(40)}


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_sensors_side_by_side_hold_no_connection_between_batches(kind: str, tmp_path: Path) -> None:
    """A connection is configured for a few queries, and a server has fewer connections than an export has sensors."""
    with scratch_database() if kind == "mariadb" else scratch_postgres() as database:
        fill(database)
        for name, whole in MANY.items():
            database.insert("INSERT INTO readings VALUES (%s, %s, %s, %s)", list(rows(name, whole)))
        database.insert("INSERT INTO sensors VALUES (%s, %s, %s, %s)", [(name, None, "", None) for name in MANY])
        selection = Selection.from_json({"sensor_id": list(MANY), "layout": "wide"})
        connections = database.connections if isinstance(database, Database) else database.backends
        with closing(SeriesSource(sensors_of(database.url, tmp_path).store, selection).batches()) as batches:
            first = next(batches)
            assert wait_until(lambda: not connections(), 5)
            found = pa.Table.from_batches([first, *batches])
    for name, whole in MANY.items():
        of_sensor = [row[1:] for row in rows(name, whole)]
        columns = (found.column(each).to_pylist() for each in ("timestamp_ms", name, f"{name}_quality"))
        assert [row for row in zip(*columns, strict=True) if row[2] is not None] == of_sensor, name


def test_points_of_one_timestamp_are_not_divided_among_pages(tmp_path: Path) -> None:
    """A table without a key may have several; a page of a query is no shorter than 16,384 of them."""
    with scratch_database() as database:
        database.run("CREATE TABLE readings (sensor VARCHAR(64), at_ms BIGINT, reading DOUBLE, good SMALLINT)")
        first, same_time = 16_380, 20_000
        database.run(f"INSERT INTO readings SELECT 'a', seq, seq, 1 FROM seq_1_to_{first}")
        database.run(f"INSERT INTO readings SELECT 'a', 20000, seq, 1 FROM seq_1_to_{same_time}")
        database.run("INSERT INTO readings SELECT 'a', 20001, 1, 1 FROM seq_1_to_9")
        bare = replace(OPTIONS, sensors_table="", name="", unit="", attributes={})
        store = sensors_of(database.url, tmp_path, bare).store
        parts = [part.ms.tolist() for part in store.scan("a", 0, 10**9, beside=True)]
    assert [*chain(*parts)] == [*range(1, first + 1), *[20_000] * same_time, *[20_001] * 9]
    assert len(parts) > 1


def test_sensors_are_listed_searched_and_described(url: str, tmp_path: Path) -> None:
    store = sensors_of(url, tmp_path).store
    assert [(s.id, s.name, s.unit) for s in store.sensors()] == [("a", "Boiler", "bar"), ("it's %_\\ b", "", "")]
    assert [dict(s.attributes) for s in store.sensors()] == [{"line": "3"}, {"line": ""}]
    assert dict(store.sensor("a").attributes) == {"line": "3"}
    assert [s.id for s in store.sensors("BOIL")] == ["a"]
    assert [s.id for s in store.sensors("%_\\")] == ["it's %_\\ b"]
    assert [s.id for s in store.sensors(after="a", limit=5)] == ["it's %_\\ b"]
    assert store.sensor("a").extent == Extent(T0, int(WHOLE["a"].ms[-1]))
    with pytest.raises(NotFound):
        store.sensor("nobody")


def test_without_a_table_of_sensors_they_are_derived_from_the_points(url: str, tmp_path: Path) -> None:
    bare = replace(OPTIONS, quality="", sensors_table="", name="", unit="", attributes={})
    store = sensors_of(url, tmp_path, bare).store
    assert [s.id for s in store.sensors()] == sorted(WHOLE)
    assert set(stored(store, "a").quality.tolist()) == {1}


def test_closing_ends_the_query(url: str, tmp_path: Path) -> None:
    source = SeriesSource(sensors_of(url, tmp_path).store, Selection.from_json({"sensor_id": "a"}))
    batches = source.batches()
    next(batches)
    source.close()
    with pytest.raises(Canceled):
        list(batches)


def test_nothing_is_written_there(url: str, tmp_path: Path) -> None:
    store = sensors_of(url, tmp_path).store
    with pytest.raises(Disabled):
        store.append([("a", WHOLE["a"])])
    with pytest.raises(Disabled):
        store.describe("a", Description("other"))


def test_exports_of_them_count_as_queries_of_the_connection(url: str, tmp_path: Path) -> None:
    found = sensors_of(url, tmp_path)
    assert (found.connection, found.queries_max) == ("plant", 3)


@pytest.mark.parametrize("name", ["points; DROP TABLE x", "a b", "1a", "a.b.c", '"x"'])
def test_a_setting_that_is_not_a_name_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        RemoteStore(replace(OPTIONS, table=name), lambda statement, values: pytest.fail("nothing is run"))


def test_a_connection_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        wiring.sensors(load(environ={}, folder=tmp_path, flags={"series.connection": "nowhere"}))
