"""The embedded sensor store: appended points come back, whatever happened in between."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxport.errors import Broken, NotFound, Refused, TooMany, Unavailable
from fluxport.series import Description, Extent, Points, chunk
from fluxport.series.embedded import EmbeddedOptions, EmbeddedStore
from fluxport.series.points import joined
from private_mounts import on_tmpfs
from series_support import T0, points, same, stored, walk


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    made = EmbeddedStore(tmp_path / "series.db")
    yield made
    made.close()


def in_pieces(store: EmbeddedStore, sensor: str, whole: Points, size: int) -> None:
    for start in range(0, len(whole), size):
        store.append([(sensor, whole[start : start + size])])


def chunks_of(store: EmbeddedStore) -> list[tuple[int, int, int, int]]:
    with sqlite3.connect(store.path) as connection:
        return connection.execute("SELECT sensor, first_ms, last_ms, points FROM chunks ORDER BY 1, 2").fetchall()


def hot_rows(store: EmbeddedStore) -> int:
    with sqlite3.connect(store.path) as connection:
        return int(connection.execute("SELECT count(*) FROM hot").fetchone()[0])


@pytest.mark.parametrize("piece", [500, 8192, 50_000], ids=["rows", "one chunk", "many chunks"])
def test_points_come_back_bit_for_bit_before_and_after_compaction(store: EmbeddedStore, piece: int) -> None:
    whole = walk(50_000)
    in_pieces(store, "a", whole, piece)
    assert same(stored(store, "a"), whole)
    store.compact()
    assert hot_rows(store) < chunk.POINTS
    assert same(stored(store, "a"), whole)


def test_floats_retain_every_bit(store: EmbeddedStore) -> None:
    odd = [0.1, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), 2.0**53 + 2, None, 1e22, 1 / 3]
    store.append([("a", points(range(len(odd)), odd))])
    assert same(stored(store, "a"), points(range(len(odd)), odd))
    many = walk(chunk.POINTS)
    many.values[: len(odd)] = [np.nan if v is None else v for v in odd]
    store.append([("b", many)])
    assert same(stored(store, "b"), many)


def test_both_bounds_belong_to_the_range(store: EmbeddedStore) -> None:
    whole = walk(20_000)
    in_pieces(store, "a", whole, 10_000)
    for first, last in [(0, 0), (3, 8191), (8191, 8192), (8192, 19_999), (5, 19_998), (19_999, 19_999)]:
        found = stored(store, "a", int(whole.ms[first]), int(whole.ms[last]))
        assert same(found, whole[first : last + 1])
    assert len(stored(store, "a", T0 + 1, T0 + 999)) == 0
    assert len(stored(store, "a", T0 + 10, T0 + 5)) == 0


def test_the_last_write_of_a_moment_wins_wherever_the_others_rest(store: EmbeddedStore) -> None:
    whole = walk(30_000)
    store.append([("a", whole)])  # chunks
    late = points(whole.ms[::7].tolist(), range(len(whole.ms[::7])), 0)
    in_pieces(store, "a", late, 1000)  # rows over chunks
    expected = Points(whole.ms, whole.values.copy(), whole.quality.copy())
    expected.values[::7], expected.quality[::7] = late.values, 0
    assert same(stored(store, "a"), expected)
    again = walk(20_000, seed=9)
    store.append([("a", again)])  # chunks over rows and chunks
    expected.values[:20_000], expected.quality[:20_000] = again.values, again.quality
    assert same(stored(store, "a"), expected)
    store.append([("a", points([T0, T0, T0], [1.0, 2.0, 3.0]))])
    expected.values[0], expected.quality[0] = 3.0, 1
    assert same(stored(store, "a"), expected)


def test_late_points_are_merged_wherever_they_belong(store: EmbeddedStore) -> None:
    whole = walk(100_000)
    even, odd = whole[np.arange(0, 100_000, 2)], whole[np.arange(1, 100_000, 2)]
    store.append([("a", even)])
    shuffled = odd[np.random.default_rng(3).permutation(len(odd))]
    in_pieces(store, "a", shuffled, 700)
    store.compact()
    assert same(stored(store, "a"), whole)
    chunks = chunks_of(store)
    assert all(before[2] < after[1] for before, after in itertools.pairwise(chunks)), "chunks never overlap"
    assert all(count <= 2 * chunk.POINTS for *_, count in chunks)


pieces = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.lists(st.tuples(st.integers(0, 400), st.floats(allow_nan=False)), min_size=1, max_size=120),
        st.booleans(),
    ),
    max_size=12,
)


@given(pieces)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_writes_and_compactions_is_a_dictionary(
    tmp_path: Path, steps: list[tuple[int, list[tuple[int, float]], bool]]
) -> None:
    """With small chunks, so that every kind of merge happens."""
    (tmp_path / "series.db").unlink(missing_ok=True)
    store = EmbeddedStore(tmp_path / "series.db", EmbeddedOptions(chunk_points=16))
    model: dict[int, float] = {}
    try:
        store.describe("a", Description())
        for shift, written, compacting in steps:
            store.append([("a", points([shift + ms for ms, _ in written], [v for _, v in written]))])
            model |= {shift + ms: value for ms, value in written}
            if compacting:
                store.compact()
            found = stored(store, "a")
            assert dict(zip(found.ms.tolist(), found.values.tolist(), strict=True)) == model
            assert found.ms.tolist() == sorted(model)
    finally:
        store.close()


def test_an_outline_has_every_peak_and_counts_every_point_before_and_after_late_ones(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "series.db", EmbeddedOptions(chunk_points=512))
    whole = walk(100_000)
    store.append([("a", whole)])
    expected = Points(whole.ms, whole.values.copy(), whole.quality.copy())

    def compare(first: int, last: int, most: int = 200) -> None:
        part = expected[first : last + 1]
        few, count = store.outline("a", int(part.ms[0]), int(part.ms[-1]), most)
        assert count == len(part)
        assert len(few) <= most
        assert (np.nanmin(few.values), np.nanmax(few.values)) == (np.nanmin(part.values), np.nanmax(part.values))
        assert (few.ms[0], few.ms[-1]) == (part.ms[0], part.ms[-1])
        assert (few.quality.min() == 0) == bool((part.quality == 0).any())
        index = np.searchsorted(part.ms, few.ms)
        assert same(Points(few.ms, few.values, few.quality), Points(part.ms[index], part.values[index], few.quality))

    for first, last in [(0, 99_999), (700, 90_001), (1, 99_998), (40_000, 80_000)]:
        compare(first, last)
    # A highest point that a late one takes away, and another that one brings.
    top = int(np.nanargmax(whole.values))
    late = points([int(whole.ms[top]), int(whole.ms[50_000])], [0.0, 1e6])
    store.append([("a", late)])
    expected.values[[top, 50_000]], expected.quality[[top, 50_000]] = [0.0, 1e6], 1
    for first, last in [(0, 99_999), (700, 90_001), (50_000, 50_000 + 40_000)]:
        compare(first, last)
    store.compact()
    compare(0, 99_999)
    few, count = store.outline("a", T0 - 5, T0 - 1, 100)
    assert (len(few), count) == (0, 0)
    with pytest.raises(NotFound):
        store.outline("nobody", 0, 1, 100)
    store.close()


@pytest.mark.slow
def test_many_writers_and_readers_at_once_lose_nothing(store: EmbeddedStore) -> None:
    store.options = EmbeddedOptions(compact_every_s=0.01)
    store.start()
    whole = {f"s{n}": walk(20_000, seed=n) for n in range(4)}
    for sensor in whole:
        store.describe(sensor, Description())
    broken: list[str] = []
    over = threading.Event()

    def write(sensor: str, offset: int) -> None:
        mine = whole[sensor][np.arange(offset, 20_000, 2)]
        in_pieces(store, sensor, mine, 250)

    def read() -> None:
        while not over.is_set():
            for sensor, expected in whole.items():
                seen = stored(store, sensor)
                if not same(seen, expected[np.isin(expected.ms, seen.ms)]):
                    broken.append(sensor)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(s, o)) for s in whole for o in (0, 1)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    for thread in readers:
        thread.join()
    assert not broken
    assert all(same(stored(store, sensor), expected) for sensor, expected in whole.items())


def test_a_reader_that_pauses_blocks_no_writer(store: EmbeddedStore) -> None:
    store.append([("a", walk(100_000))])
    scan = store.scan("a", T0, T0 + 10**12)
    first = next(scan)
    store.append([("a", walk(100_000, seed=2))])
    store.append([("a", points([T0 - 1], [1.0]))])
    store.compact()
    rest = list(scan)
    assert joined([first, *rest]).ms.tolist() == walk(100_000).ms.tolist()


WRITER = """
import json, sys
import numpy as np
from pathlib import Path
from fluxport.series import Points
from fluxport.series.embedded import EmbeddedOptions, EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]), EmbeddedOptions(compact_every_s=0.01))
store.start()
for n in range(100_000):
    ms = np.arange(n * 500, n * 500 + 500, dtype=np.int64)
    store.append([("a", Points(ms, ms / 7, np.ones(500, np.uint8)))])
    print(n, flush=True)
"""


@pytest.mark.parametrize("after", [3, 40, 90])
def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path: Path, after: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "series.db")], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= after:
            break
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged = max([after, *map(int, writer.stdout.read().split("\n")[:-1])])
    writer.wait()
    writer.stdout.close()
    store = EmbeddedStore(tmp_path / "series.db")
    found = stored(store, "a")
    store.close()
    assert len(found) % 500 == 0
    assert len(found) >= (acknowledged + 1) * 500
    assert found.ms.tolist() == list(range(len(found)))
    assert found.values.tolist() == (np.arange(len(found)) / 7).tolist()


def test_two_processes_write_to_one_file(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "series.db")
    code = WRITER.replace("range(100_000)", "range(60)").replace('"a"', '"other"')
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "series.db")], stdout=subprocess.DEVNULL)
    whole = walk(30_000)
    in_pieces(store, "a", whole, 500)
    assert other.wait() == 0
    assert same(stored(store, "a"), whole)
    assert len(stored(store, "other")) == 30_000
    store.close()


def test_retention_deletes_what_is_too_old(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "series.db", EmbeddedOptions(keep_s=3600), clock=lambda: T0 / 1000 + 30_000)
    whole = walk(30_000)
    store.append([("a", whole)])
    store.append([("b", whole[:100])])
    store.expire()
    found = stored(store, "a")
    assert same(found, whole[30_000 - len(found) :])
    assert 3600 <= len(found) <= 3600 + chunk.POINTS
    assert len(stored(store, "b")) == 0
    assert store.sensor("b").extent is None
    store.close()


def test_sensors_are_listed_searched_and_described(store: EmbeddedStore) -> None:
    store.append([(name, points([T0, T0 + 5], [1, 2])) for name in ("plant/b", "plant/a", "boiler")])
    store.describe("boiler", Description("Boiler, left", "°C"))
    store.describe("boiler", Description("Boiler, right"))
    assert [s.id for s in store.sensors()] == ["boiler", "plant/a", "plant/b"]
    assert [s.id for s in store.sensors("PLANT")] == ["plant/a", "plant/b"]
    assert [s.id for s in store.sensors("right")] == ["boiler"]
    assert [s.id for s in store.sensors(limit=1, after="boiler")] == ["plant/a"]
    found = store.sensor("boiler")
    assert (found.name, found.unit, found.extent) == ("Boiler, right", "°C", Extent(T0, T0 + 5))
    with pytest.raises(NotFound):
        store.sensor("nothing")
    with pytest.raises(NotFound):
        next(store.scan("nothing", 0, 1))


@pytest.mark.parametrize("name", ["", " a", "a\n", "a" * 201, "\x00"])
def test_a_name_that_no_sensor_can_have_is_refused(store: EmbeddedStore, name: str) -> None:
    with pytest.raises(Refused) as refused:
        store.append([("good", points([1], [1])), (name, points([1], [1]))])
    assert refused.value.code == "bad_sensor"
    assert store.sensors() == []


def test_a_moment_outside_the_calendar_is_refused(store: EmbeddedStore) -> None:
    with pytest.raises(Refused) as refused:
        store.append([("a", points([10**15], [1]))])
    assert refused.value.code == "bad_point"


def test_one_sensor_too_many_harms_no_other_writer(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "series.db", EmbeddedOptions(sensors_max=2))
    store.append([("a", points([1], [1])), ("b", points([1], [1]))])
    with pytest.raises(Refused) as refused:
        store.append([("a", points([2], [2])), ("c", points([1], [1]))])
    assert refused.value.code == "too_many_sensors"
    assert stored(store, "a").ms.tolist() == [1], "an append is whole or not at all"
    store.close()


def test_writers_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "series.db", EmbeddedOptions(waiting_max=100))
    blocker = sqlite3.connect(store.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    threads = [threading.Thread(target=store.append, args=([("a", walk(60, seed=n))],)) for n in range(2)]
    for thread in threads:
        thread.start()
    while not store._waiting:  # one holds the turn, the other waits
        pass
    with pytest.raises(TooMany):
        store.append([("a", walk(60))])
    blocker.execute("ROLLBACK")
    for thread in threads:
        thread.join()
    store.append([("a", walk(60))])
    blocker.close()
    store.close()


def test_a_damaged_chunk_is_reported_and_never_read_as_points(store: EmbeddedStore) -> None:
    store.append([("a", walk(chunk.POINTS))])
    with sqlite3.connect(store.path) as connection:
        data = bytearray(connection.execute("SELECT data FROM chunks").fetchone()[0])
        data[len(data) // 2] ^= 1
        connection.execute("UPDATE chunks SET data = ?", (bytes(data),))
    with pytest.raises(Broken) as broken:
        stored(store, "a")
    assert broken.value.code == "series_damaged"


def test_a_sensor_store_that_is_not_a_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "series.db").write_bytes(b"this is not a database, but long enough to be looked at" * 100)
    with pytest.raises(Unavailable):
        EmbeddedStore(tmp_path / "series.db")


FULL = """
import sys
import numpy as np
from pathlib import Path
from fluxport.errors import StoreFull
from fluxport.series import Points
from fluxport.series.embedded import EmbeddedStore
from fluxport.series.points import joined
folder = Path(sys.argv[1])
store = EmbeddedStore(folder / "series.db")
done = 0
try:
    while done < 10_000:
        ms = np.arange(done * 1000, done * 1000 + 1000, dtype=np.int64)
        store.append([("a", Points(ms, np.random.default_rng(done).normal(size=1000), np.ones(1000, np.uint8)))])
        done += 1
except StoreFull as error:
    found = joined(list(store.scan("a", 0, 10**12)))
    print(error.code, found.ms.tolist() == list(range(done * 1000)) and done > 0)
"""


def test_a_full_disk_is_reported_and_acknowledged_points_remain(tmp_path: Path) -> None:
    command = on_tmpfs(tmp_path, "4m", sys.executable, "-c", FULL, str(tmp_path))
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout == "series_full True\n", run.stderr
