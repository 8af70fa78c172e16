"""Reading points: downsampling, intervals, the source of exports; and parsing of incoming points."""

from __future__ import annotations

import io
import itertools
import json
import math
import statistics
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fluxport.errors import Canceled, LimitExceeded, NotFound, Refused
from fluxport.plan import check, of_sensors
from fluxport.series import PointBatches, Points, bodies
from fluxport.series.aggregate import AGGREGATES, aggregated
from fluxport.series.bodies import ARROW, CSV, JSON, read_points
from fluxport.series.downsample import HELD_MAX, downsample, downsampled
from fluxport.series.embedded import EmbeddedOptions, EmbeddedStore
from fluxport.series.points import joined
from fluxport.sources.series import Selection, SeriesSource
from fluxport.spec import ExportSpec
from fluxport.stages import Limits
from series_support import T0, points, same, walk

# -- downsampling ------------------------------------------------------------------------------------------------------


def batches(whole: Points, size: int) -> PointBatches:
    yield from (whole[start : start + size] for start in range(0, len(whole), size))


def test_few_points_stay_as_they_are() -> None:
    whole = walk(1000)
    assert same(downsample(whole, 1000), whole)
    assert len(downsample(points([], []), 10)) == 0


@pytest.mark.parametrize("most", [4, 5, 100, 1000, 1999])
def test_downsampling_preserves_ends_and_every_peak_within_the_bound(most: int) -> None:
    whole = walk(50_000)
    whole.values[1234] = 1e9
    whole.values[40_000] = -1e9
    few = downsample(whole, most)
    assert len(few) <= most
    assert (few.ms[0], few.ms[-1]) == (whole.ms[0], whole.ms[-1])
    assert {1e9, -1e9} <= set(few.values.tolist())
    assert (np.diff(few.ms) > 0).all()
    index = np.searchsorted(whole.ms, few.ms)
    assert few.values.view(np.int64).tolist() == whole.values[index].view(np.int64).tolist(), "no point is made up"


def test_a_bad_point_is_shown_although_downsampled() -> None:
    whole = points(range(10_000), np.sin(np.arange(10_000) / 500), 1)
    whole.quality[5003] = 0
    few = downsample(whole, 100)
    bad = few.ms[few.quality == 0]
    assert 0 < len(bad) <= 4
    assert (abs(bad - 5003) < 10_000 / 40).all()


def test_a_stretch_without_values_stays_one() -> None:
    whole = points(range(10_000), [None if 2000 <= n < 8000 else float(n) for n in range(10_000)])
    few = downsample(whole, 40)
    assert np.isnan(few.values[(few.ms > 2500) & (few.ms < 7500)]).all()
    assert {0.0, 9999.0} <= set(few.values.tolist())


def test_uneven_points_are_spread_over_time_not_over_their_number() -> None:
    dense, sparse = range(100_000), range(100_000, 10_000_000, 100_000)
    few = downsample(points([*dense, *sparse], [0.0] * 100_099), 400)
    assert len(few.ms[few.ms >= 100_000]) >= 98


@pytest.mark.slow
def test_batches_give_the_same_peaks_as_the_whole_in_bounded_memory() -> None:
    whole = walk(12 * HELD_MAX)
    whole.values[[77, 2_000_000]] = 1e9, -1e9
    few, count = downsampled(batches(whole, 100_000), 1000)
    assert count == len(whole)
    assert len(few) <= 1000
    assert {1e9, -1e9} <= set(few.values.tolist())
    direct = downsample(whole, 1000)
    assert np.nanmax(few.values) == np.nanmax(direct.values)
    assert (few.ms[0], few.ms[-1]) == (whole.ms[0], whole.ms[-1])
    assert (few.quality == 0).sum() > 0
    assert 0.9 < (few.ms < whole.ms[len(whole) // 2]).sum() / 500 < 1.1, "early points are as dense as late ones"


# -- intervals ---------------------------------------------------------------------------------------------------------


def by_hand(whole: Points, how: str, interval: int) -> list[tuple[int, float | None, int]]:
    groups: dict[int, list[tuple[float, int]]] = {}
    for ms, value, quality in zip(whole.ms.tolist(), whole.values.tolist(), whole.quality.tolist(), strict=True):
        groups.setdefault(ms // interval * interval, []).append((value, quality))
    kernel: Any = {
        "avg": lambda v: sum(v) / len(v),
        "min": min,
        "max": max,
        "first": lambda v: v[0],
        "last": lambda v: v[-1],
    }[how]
    made = []
    for begin, group in groups.items():
        values = [v for v, _ in group if not math.isnan(v)]
        made.append((begin, kernel(values) if values else None, min(q for _, q in group)))
    return made


@pytest.mark.parametrize("how", AGGREGATES)
@pytest.mark.parametrize("size", [1, 7, 1000, 5000])
def test_an_interval_is_the_same_however_its_points_were_cut(how: str, size: int) -> None:
    whole = walk(5000, start=-2_000_000)
    whole.values[100:160] = np.nan
    made = joined(list(aggregated(batches(whole, size), how, 60_000)))
    expected = by_hand(whole, how, 60_000)
    assert made.ms.tolist() == [begin for begin, _, _ in expected]
    assert [None if math.isnan(v) else v for v in made.values] == [
        None if v is None else pytest.approx(v, rel=1e-15) for _, v, _ in expected
    ]
    assert made.quality.tolist() == [quality for *_, quality in expected]
    assert same(made, joined(list(aggregated(batches(whole, 5000), how, 60_000)))), "to the last bit"


def test_an_average_is_one() -> None:
    made = joined(list(aggregated(batches(points([0, 1, 2], [1, 2, 6]), 1), "avg", 10)))
    assert made.values.tolist() == [statistics.mean([1, 2, 6])]


# -- the source of exports ---------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    made = EmbeddedStore(tmp_path / "series.db", EmbeddedOptions(chunk_points=512))
    made.append([("a", walk(5000)), ("b", walk(3000, start=T0 + 500, seed=2)), ("c/ü", walk(10, step=600_000))])
    yield made
    made.close()


def rows_of(store: EmbeddedStore, **given: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
    source = SeriesSource(store, Selection.from_json(given))
    names = source.schema.names
    made = [tuple(row.values()) for batch in source.batches() for row in batch.to_pylist()]
    return names, made


def expected_of(whole: Points) -> list[tuple[Any, ...]]:
    values = [None if math.isnan(v) else v for v in whole.values.tolist()]
    return list(zip(whole.ms.tolist(), values, whole.quality.tolist(), strict=True))


def test_one_sensor_has_the_three_columns(store: EmbeddedStore) -> None:
    names, rows = rows_of(store, sensor_id="a")
    assert names == ["timestamp_ms", "value", "quality"]
    assert rows == expected_of(walk(5000))


def test_a_range_includes_both_bounds_in_every_notation(store: EmbeddedStore) -> None:
    whole = walk(5000)[10:21]
    start, end = int(whole.ms[0]), int(whole.ms[-1])
    for bounds in [(start, end), (str(start), str(end)), ("2023-11-14T22:13:30Z", "2023-11-14T23:13:40+01:00")]:
        _, rows = rows_of(store, sensor_id="a", start_ts=bounds[0], end_ts=bounds[1])
        assert rows == expected_of(whole)


def test_long_rows_name_their_sensor_one_after_the_other(store: EmbeddedStore) -> None:
    names, rows = rows_of(store, sensor_id=["b", "a"])
    assert names == ["sensor_id", "timestamp_ms", "value", "quality"]
    expected = [("b", *row) for row in expected_of(walk(3000, start=T0 + 500, seed=2))]
    assert rows == expected + [("a", *row) for row in expected_of(walk(5000))]


def test_wide_rows_have_every_moment_once(store: EmbeddedStore) -> None:
    names, rows = rows_of(store, sensor_id=["a", "b", "c/ü"], layout="wide")
    assert names == ["timestamp_ms", "a", "a_quality", "b", "b_quality", "c/ü", "c/ü_quality"]
    sensors = [walk(5000), walk(3000, start=T0 + 500, seed=2), walk(10, step=600_000)]
    tables = [{ms: (value, quality) for ms, value, quality in expected_of(p)} for p in sensors]
    moments = sorted(set().union(*tables))
    none = (None, None)
    assert rows == [
        (ms, *tables[0].get(ms, none), *tables[1].get(ms, none), *tables[2].get(ms, none)) for ms in moments
    ]


def many(sensors: int) -> dict[str, Points]:
    """Sensors with missing and bad values, which begin and end at different times."""
    return {
        f"s{k}": walk(150 + k % 90, start=T0 + k % 60 * 1000, step=1000 if k % 11 else 3000, seed=k)
        for k in range(sensors)
    }


@pytest.fixture(params=[64, 10_000], ids=["chunks", "rows"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedStore]:
    """A store of sensors in chunks that end at different times, or without chunks."""
    made = EmbeddedStore(tmp_path / "many.db", EmbeddedOptions(chunk_points=request.param))
    sensors = [(name, whole, 64 + k // 2 % 60) for k, (name, whole) in enumerate(many(500).items())]
    made.append([(name, whole[:cut]) for name, whole, cut in sensors])
    made.append([(name, whole[cut:]) for name, whole, cut in sensors])
    yield made
    made.close()


@pytest.mark.parametrize("sensors", [200, 500])
def test_a_thousand_columns_of_sensors_have_the_points_of_each_alone(filled: EmbeddedStore, sensors: int) -> None:
    """In few batches, wherever the chunks of each sensor end. More than 200 sensors are refused only to callers."""
    expected = dict(itertools.islice(many(500).items(), sensors))
    batches = list(SeriesSource(filled, Selection(tuple(expected), several=True, wide=True)).batches())
    found = pa.Table.from_batches(batches)
    assert found.num_columns == 2 * sensors + 1
    moments = found.column("timestamp_ms").to_pylist()
    assert moments == sorted(set().union(*(whole.ms.tolist() for whole in expected.values())))
    for name, whole in expected.items():
        rows = {ms: (value, quality) for ms, value, quality in expected_of(whole)}
        columns = (found.column(name).to_pylist(), found.column(f"{name}_quality").to_pylist())
        assert list(zip(*columns, strict=True)) == [rows.get(ms, (None, None)) for ms in moments], name
    assert len(batches) < len(moments) / 20


def test_long_rows_of_many_sensors_are_those_of_each_alone(filled: EmbeddedStore) -> None:
    expected = many(200)
    _, rows = rows_of(filled, sensor_id=list(expected))
    assert rows == [(name, *row) for name, whole in expected.items() for row in expected_of(whole)]


def test_a_batch_of_sensors_with_their_own_times_is_no_larger_than_others(tmp_path: Path) -> None:
    """Side by side, each point has a row for itself, with a cell for every sensor."""
    store = EmbeddedStore(tmp_path / "own.db", EmbeddedOptions(chunk_points=64))
    own = {name: Points(whole.ms + k, whole.values, whole.quality) for k, (name, whole) in enumerate(many(200).items())}
    store.append(list(own.items()))
    rows = 0
    for batch in SeriesSource(store, Selection(tuple(own), several=True, wide=True)).batches():
        assert batch.nbytes < 5 << 20
        rows += batch.num_rows
    assert rows == sum(map(len, own.values()))
    store.close()


class CutStore(EmbeddedStore):
    """Its sensors have ``given`` points, in batches of ``sizes`` in turn; several may have one timestamp."""

    given: dict[str, Points]
    sizes: tuple[int, ...]

    def scan(self, sensor_id: str, *_: Any, **__: Any) -> PointBatches:
        whole = self.given[sensor_id]
        start = 0
        for size in itertools.cycle(self.sizes):
            yield whole[start : start + size]
            start += size
            if start > len(whole):
                return


@pytest.mark.parametrize("sizes", [(10_000,), (1,), (3,), (0, 2, 0), (1, 7, 0, 0, 300)])
def test_wide_rows_do_not_depend_on_batches(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """Wherever a batch ends, also between points of one timestamp; and if some are empty. A sensor may have none."""
    store = CutStore(tmp_path / "cut.db", EmbeddedOptions())
    moments = np.repeat(np.arange(400), np.arange(400) % 4)
    values = np.arange(len(moments)).astype(np.float64)
    store.append([(name, walk(1)) for name in "abc"])
    store.given = {
        "a": Points(T0 + moments, values, np.zeros(len(moments), np.uint8)),
        "b": Points(T0 + moments[::5], values[::5], np.ones(len(moments[::5]), np.uint8)),
        "c": walk(1)[:0],
    }
    store.sizes = sizes
    _, rows = rows_of(store, sensor_id=["a", "b", "c"], layout="wide")
    last = [dict(zip(whole.ms.tolist(), whole.values.tolist(), strict=True)) for whole in store.given.values()]
    expected = sorted(last[0].keys() | last[1].keys())
    assert [(row[0], row[1], row[3], row[5]) for row in rows] == [
        (ms, last[0].get(ms), last[1].get(ms), None) for ms in expected
    ]
    store.close()


def test_intervals_of_several_sensors_stand_side_by_side(store: EmbeddedStore) -> None:
    _, rows = rows_of(store, sensor_id=["a", "b"], layout="wide", aggregate="max", interval="10m")
    assert [row[1] for row in rows] == [value for _, value, _ in by_hand(walk(5000), "max", 600_000)]
    assert all(row[0] % 600_000 == 0 for row in rows)


def test_moments_may_be_dates(store: EmbeddedStore) -> None:
    source = SeriesSource(store, Selection.from_json({"sensor_id": "a", "time": "datetime"}))
    assert source.schema.field(0).type == pa.timestamp("ms", "UTC")
    assert next(source.batches()).column(0)[0].as_py().isoformat() == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"sensor_id": "a", "start_ts": 2, "end_ts": 1}, "bad_range"),
        ({"sensor_id": "a", "start_ts": "yesterday"}, "bad_range"),
        ({"sensor_id": "a", "start_ts": "2026-01-01T00:00:00"}, "bad_range"),
        ({"sensor_id": "a", "start_ts": True}, "bad_range"),
        ({"sensor_id": "a", "start_ts": 1.5}, "bad_range"),
        ({"sensor_id": ""}, "bad_source"),
        ({"sensor_id": []}, "bad_source"),
        ({"sensor_id": ["a", 1]}, "bad_source"),
        ({"sensor_id": [str(n) for n in range(201)]}, "too_many_sensors"),
        ({"sensor_id": "a", "layout": "broad"}, "bad_source"),
        ({"sensor_id": "a", "aggregate": "median", "interval": "1m"}, "bad_source"),
        ({"sensor_id": "a", "aggregate": "avg"}, "bad_source"),
        ({"sensor_id": "a", "interval": "1m"}, "bad_source"),
        ({"sensor_id": "a", "aggregate": "avg", "interval": "0s"}, "bad_source"),
        ({"sensor_id": "a", "from": 1}, "unknown_key"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused_before_anything_is_read(given: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        Selection.from_json(given)
    assert refused.value.code == code


def test_an_unknown_sensor_is_refused_by_the_schema(store: EmbeddedStore) -> None:
    with pytest.raises(NotFound) as refused:
        _ = SeriesSource(store, Selection.from_json({"sensor_id": ["a", "x"]})).schema
    assert refused.value.code == "no_such_sensor"


def test_a_closed_source_is_canceled_not_ended(store: EmbeddedStore) -> None:
    source = SeriesSource(store, Selection.from_json({"sensor_id": ["a", "b"]}))
    rows = source.batches()
    next(rows)
    source.close()
    source.close()
    with pytest.raises(Canceled):
        next(rows)


def exported(spec: ExportSpec, store: EmbeddedStore) -> bytes:
    export = check(spec, of_sensors(spec, lambda: store), limits=Limits()).open("export")
    data = b"".join(export.chunks())
    assert export.tally.complete
    return data


@pytest.mark.parametrize("name", ["csv", "jsonl", "xlsx", "parquet"])
@pytest.mark.parametrize("layout", ["long", "wide"])
def test_the_bytes_do_not_depend_on_compaction(tmp_path: Path, name: str, layout: str) -> None:
    made = []
    for size in (512, 10_000_000):
        store = EmbeddedStore(tmp_path / f"{size}.db", EmbeddedOptions(chunk_points=size))
        store.append([("a", walk(5000)), ("b", walk(4000, seed=4))])
        spec = ExportSpec(series={"sensor_id": ["a", "b"], "layout": layout}, format=name)
        made.append(exported(spec, store))
        store.close()
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ({"sensor_id": "a", "start_ts": 5, "end_ts": 9}, "a_5_9.csv"),
        ({"sensor_id": "plant/{1}", "start_ts": 5}, "plant__1__5_now.csv"),
        ({"sensor_id": ["a", "b"], "end_ts": 9}, "2-sensors_begin_9.csv"),
    ],
)
def test_the_file_is_named_for_sensor_and_range(store: EmbeddedStore, series: dict[str, Any], expected: str) -> None:
    spec = ExportSpec(series=series)
    assert check(spec, of_sensors(spec, lambda: store), limits=Limits()).open("export").filename == expected


def test_a_body_requests_sensors() -> None:
    spec = ExportSpec.from_json({"source": {"sensor_id": "a", "start_ts": 1, "end_ts": 2}, "format": "xlsx"})
    assert spec.scope == "series"
    assert spec.series == {"sensor_id": "a", "start_ts": 1, "end_ts": 2}
    for source in ({"sensor_id": "a", "query": "SELECT 1"}, {"sensor_id": "a", "connection": "main"}, {"start_ts": 1}):
        with pytest.raises(Refused):
            ExportSpec.from_json({"source": source})


# -- points as they come in --------------------------------------------------------------------------------------------


def arrow(compression: str | None = None, **columns: Any) -> bytes:
    table = pa.table(columns)
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return out.getvalue()


WANTED = points([1, 2, 3], [0.1, None, -3.0], [1, 0, 1])


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (
            JSON,
            b'{"points": [{"timestamp_ms": 1, "value": 0.1}, {"timestamp_ms": 2, "value": null, "quality": 0},'
            b' {"timestamp_ms": 3, "value": -3}]}',
        ),
        (
            JSON,
            b'[{"timestamp_ms":3,"value":-3.0},{"timestamp_ms":2,"quality":0,"value":null},{"timestamp_ms":1,"value":0.1}]',
        ),
        (
            "application/json; charset=utf-8",
            b'{"timestamp_ms": [1, 2, 3], "value": [0.1, null, -3], "quality": [1, 0, 1]}',
        ),
        ("", b'{"timestamp_ms": [1, 2, 3], "value": [0.1, null, -3], "quality": [1, 0, 1]}'),
        (CSV, b"timestamp_ms,value,quality\n1,0.1,1\n2,,0\n3,-3,1\n"),
        ("text/csv; charset=utf-8", b"value,quality,timestamp_ms\r\n0.1,1,1\r\nNaN,0,2\r\n-3,1,3\r\n"),
        (ARROW, arrow(timestamp_ms=[1, 2, 3], value=[0.1, None, -3.0], quality=pa.array([1, 0, 1], pa.int8()))),
        (
            ARROW,
            arrow(
                timestamp_ms=pa.array([1, 2, 3], pa.timestamp("ms", "UTC")), value=[0.1, None, -3.0], quality=[1, 0, 1]
            ),
        ),
    ],
)
def test_points_are_read_from_every_form(media_type: str, body: bytes) -> None:
    ((sensor, found),) = read_points(body, media_type, "a")
    assert sensor == "a"
    assert same(found, WANTED)


def test_an_explicit_infinity_is_a_value() -> None:
    ((_, found),) = read_points(b"timestamp_ms,value\n1,inf\n2,-inf\n3,1\n4,\n", CSV, "a")
    assert found.values[:3].tolist() == [float("inf"), float("-inf"), 1.0]


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, b"{"),
        (JSON, b'{"points": 1}'),
        (JSON, b'[{"value": 1}]'),
        (JSON, b'[{"timestamp_ms": 1}]'),
        (JSON, b'[{"timestamp_ms": 1.5, "value": 1}]'),
        (JSON, b'[{"timestamp_ms": "1", "value": 1}]'),
        (JSON, b'[{"timestamp_ms": true, "value": 1}]'),
        (JSON, b'[{"timestamp_ms": 1, "value": "1"}]'),
        (JSON, b'[{"timestamp_ms": 1, "value": NaN}]'),
        (JSON, b'[{"timestamp_ms": 1, "value": 1, "quality": 256}]'),
        (JSON, b'[{"timestamp_ms": 1, "value": 1, "quality": -1}]'),
        (JSON, b'[{"timestamp_ms": 1, "value": 1, "qualty": 1}]'),
        (JSON, b'{"timestamp_ms": [1, 2], "value": [1]}'),
        (JSON, b'[{"timestamp_ms": 1e400, "value": 1}]'),
        (JSON, b'[{"timestamp_ms": 1, "value": 1e999}]'),
        (JSON, b'{"timestamp_ms": [1, 2], "value": [1, -1e999]}'),
        (JSON, b'[{"timestamp_ms": 1, "value": 1%s}]' % (b"0" * 400)),
        (JSON, b"[" * 100_000),
        (CSV, b"timestamp_ms,value\n1,inf\n2,1e999\n"),
        (CSV, b""),
        (CSV, b"timestamp_ms,value\n1,x\n"),
        (CSV, b"timestamp_ms,value\n1.5,1\n"),
        (CSV, b"a,b\n1,2\n"),
        (CSV, b"\xff\xfe"),
        (ARROW, b"not arrow"),
        (ARROW, arrow(timestamp_ms=[1], value=[1.0])[:-20]),
        (ARROW, arrow("zstd", timestamp_ms=[1] * 1000, value=[1.0] * 1000)),
        (ARROW, arrow(timestamp_ms=[1], value=pa.array([1.0]).dictionary_encode())),
        (ARROW, arrow(timestamp_ms=["1"], value=[1.0])),
        (ARROW, arrow(timestamp_ms=[1], value=[2**60 + 1])),
        (ARROW, arrow(timestamp_ms=pa.array([None], pa.int64()), value=[1.0])),
        (ARROW, arrow(timestamp_ms=pa.array([1500], pa.timestamp("us")), value=[1.0])),
        ("application/xml", b"<a/>"),
    ],
)
def test_a_body_that_is_not_points_is_refused(media_type: str, body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        read_points(body, media_type, "a")
    assert refused.value.code in ("bad_points", "bad_points_type")


def test_a_message_may_hold_several_sensors() -> None:
    body = json.dumps([{"sensor_id": s, "timestamp_ms": n, "value": n} for n, s in enumerate(["b", "a", "b"])]).encode()
    found = dict(read_points(body, JSON, "subject", several=True))
    assert found["b"].ms.tolist() == [0, 2]
    assert found["a"].values.tolist() == [1.0]
    assert [sensor for sensor, _ in read_points(b'[{"timestamp_ms": 1, "value": 1}]', JSON, "a", several=True)] == ["a"]
    with pytest.raises(Refused):
        read_points(body, JSON, "a")


@pytest.mark.parametrize("media_type", [JSON, CSV, ARROW])
def test_a_message_of_a_thousand_sensors_has_the_points_of_each(media_type: str) -> None:
    """In any order; of a timestamp that a sensor has twice, the last point."""
    chance = np.random.default_rng(1)
    ids = [f"s{k}" for k in chance.integers(0, 1000, 5000)]
    ms, values = chance.integers(0, 20, 5000).tolist(), chance.normal(size=5000).tolist()
    columns = {"sensor_id": ids, "timestamp_ms": ms, "value": values}
    lines = "".join(f"{','.join(map(str, row))}\n" for row in [tuple(columns), *zip(ids, ms, values, strict=True)])
    body = {JSON: json.dumps(columns).encode(), CSV: lines.encode(), ARROW: arrow(**columns)}[media_type]
    expected: dict[str, dict[int, float]] = {}
    for sensor, at, value in zip(ids, ms, values, strict=True):
        expected.setdefault(sensor, {})[at] = value
    found = read_points(body, media_type, "subject", several=True)
    assert {name: list(zip(own.ms.tolist(), own.values.tolist(), strict=True)) for name, own in found} == {
        name: sorted(own.items()) for name, own in expected.items()
    }
    assert len(found) == len(expected) > 900


def test_one_long_id_takes_no_memory_for_each_point() -> None:
    """The store refuses such an id later, for its own reason."""
    ids = ["x" * 10_000, *["a"] * 5_000]
    body = json.dumps({"sensor_id": ids, "timestamp_ms": list(range(5_001)), "value": [1.0] * 5_001}).encode()
    tracemalloc.start()
    try:
        found = read_points(body, JSON, "subject", several=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(name, len(own)) for name, own in found] == [("a", 5_000), (ids[0], 1)]
    assert peak < 20 << 20


def test_a_message_has_a_bound() -> None:
    count = bodies.POINTS_MAX + 1
    with pytest.raises(LimitExceeded):
        read_points(arrow(timestamp_ms=np.arange(count), value=np.zeros(count)), ARROW, "a")
