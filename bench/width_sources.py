"""What a cell costs by the number of columns from sources other than MySQL to CSV.

    python bench/width.py --part sources

Each figure is CPU seconds of a separate process for each cell, from the first pull to the last byte of the file, less
those of one row; the rows, the messages of a push included, are made before. Columns are those of seed.py: six kinds in
turn; sensors have a value and a quality in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import support
from seed import MIXED
from support import Report

WIDTHS = (10, 60, 240, 900)
CELL_MAX = 1.4  # the cost of a cell in the widest beside the narrowest
MESSAGE_CELLS = 50_000  # of one message of a push
POSTGRES = os.environ.get("FLUXPORT_BENCH_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
LONG = "sensors, in turn"  # four columns; the number of sensors is half that of the columns of the others
CHUNK_POINTS = 256  # of a sensor, compressed in the store; fewer than usual, as the widest have few rows
TABLE_COLUMNS = 120  # of one table in PostgreSQL, whose rows fit a page of 8 KiB

PUSHED = {"int": "number", "decimal": "number", "varchar": "string", "datetime": "date", "double": "number"}
SQLITE = {"int": "INTEGER", "double": "REAL"}
POSTGRES_TYPES = {
    "int": ("integer", "(s * {k} + 3) % 1000003"),
    "decimal": ("numeric(12,2)", "((s * {k} + 17) % 100000000) / 100.0"),
    "varchar": ("varchar(50)", "'text ' || s * {k} || ' of column {k}'"),
    "datetime": ("timestamp(0)", "timestamp '2020-01-01' + ((s * {k}) % 100000000) * interval '1 second'"),
    "double": ("double precision", "s * {k} * 0.1::float8 + 1 / (s + {k})::float8"),
    "text_null": ("varchar(50)", "CASE WHEN (s + {k}) % 3 <> 0 THEN 'note ' || s + {k} END"),
}


def kind_of(column: int) -> str:
    return MIXED[column % len(MIXED)]


VALUES: dict[str, Callable[[int, int], int | float | str | None]] = {
    "int": lambda row, k: (row * k + 3) % 1_000_003,
    "decimal": lambda row, k: f"{(row * k + 17) % 100_000_000 / 100:.2f}",
    "varchar": lambda row, k: f"text {row * k} of column {k}",
    "datetime": lambda row, k: f"2020-{row % 12 + 1:02d}-{row * k % 28 + 1:02d} {row % 24:02d}:00:00",
    "double": lambda row, k: row * k * 0.1 + 1 / (row + k),  # about as many digits in each column
    "text_null": lambda row, k: None if (row + k) % 3 == 0 else f"note {row + k}",
}


def value(column: int, row: int) -> int | float | str | None:
    return VALUES[kind_of(column)](row, column + 1)


def cut(numbers: range, size: int) -> list[range]:
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def arrow_table(columns: int, rows: int) -> Any:
    import pyarrow as pa

    types = {"decimal": pa.decimal128(12, 2), "datetime": pa.timestamp("s")}
    arrays = []
    for column in range(columns):
        values = pa.array([value(column, row) for row in range(1, rows + 1)])
        arrays.append(values.cast(types.get(kind_of(column), values.type)))
    return pa.table(arrays, names=[f"c{column}" for column in range(columns)])


# -- the sources, made outside of the time that counts -----------------------------------------------------------------


@contextlib.contextmanager
def in_memory(columns: int, rows: int) -> Iterator[Any]:
    from fluxport.sources.arrow import ArrowSource

    yield ArrowSource(arrow_table(columns, rows))


def messages_of(table: Any) -> list[bytes]:
    """The rows as IPC streams of MESSAGE_CELLS cells each."""
    import pyarrow as pa

    messages = []
    for batch in table.to_batches(max(1, MESSAGE_CELLS // table.num_columns)):
        content = pa.BufferOutputStream()
        with pa.ipc.new_stream(content, batch.schema) as writer:
            writer.write_batch(batch)
        messages.append(content.getvalue().to_pybytes())
    return messages


def received(message: bytes) -> Any:
    """A batch with buffers of its own, as a client's are."""
    import pyarrow as pa

    return pa.ipc.open_stream(message).read_next_batch()


@contextlib.contextmanager
def flight(columns: int, rows: int) -> Iterator[Any]:
    from fluxport.sources.pushed import PushedOptions, ReadSource

    table = arrow_table(columns, rows)
    batches = iter([received(message) for message in messages_of(table)])
    yield ReadSource(table.schema, lambda: next(batches, None), lambda: None, PushedOptions())


@contextlib.contextmanager
def pushed_arrow(columns: int, rows: int) -> Iterator[Any]:

    from fluxport.sources.pushed import PushedBatch

    messages = messages_of(arrow_table(columns, rows))
    yield pushed(columns, (PushedBatch(0, message, arrow=message) for message in messages))


@contextlib.contextmanager
def pushed_text(columns: int, rows: int) -> Iterator[Any]:
    from fluxport.grpc import export_pb2 as pb
    from fluxport.grpc import wire
    from fluxport.sources.pushed import PushedBatch

    def message(numbers: Sequence[int]) -> bytes:
        sent = ((value(column, row) for column in range(columns)) for row in numbers)
        records = [pb.Record(values=["" if each is None else str(each) for each in row]) for row in sent]
        return pb.ExportRequest(batch=pb.DataBatch(records=records)).SerializeToString()

    messages = [message(numbers) for numbers in cut(range(1, rows + 1), max(1, MESSAGE_CELLS // columns))]

    def parsed() -> Iterator[PushedBatch]:
        for each in messages:
            found = wire.cells(each, columns)
            assert found is not None
            yield PushedBatch(0, each, cells=found[1])

    yield pushed(columns, parsed())


def pushed(columns: int, batches: Iterator[Any]) -> Any:
    from fluxport.sources.pushed import PushedColumn, PushedOptions, PushedSource

    declared = [PushedColumn(f"c{k}", PUSHED.get(kind_of(k), "string")) for k in range(columns)]  # type: ignore[arg-type]  # the names are right
    options = PushedOptions(exact_text=True)
    return PushedSource(declared, lambda: next(batches, None), lambda: None, options, lambda: True)


@contextlib.contextmanager
def sqlite(columns: int, rows: int) -> Iterator[Any]:
    from fluxport.sources import open_source

    file = support.scratch("width.db")
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            types = ", ".join(f"c{k} {SQLITE.get(kind_of(k), 'TEXT')}" for k in range(columns))
            connection.execute(f"CREATE TABLE t ({types})")
            places = ", ".join("?" * columns)
            values = ([value(k, row) for k in range(columns)] for row in range(1, rows + 1))
            connection.executemany(f"INSERT INTO t VALUES ({places})", values)
            connection.commit()
        yield open_source(f"sqlite:///{file}", "SELECT * FROM t")
    finally:
        support.remove(file)


@contextlib.contextmanager
def postgresql(columns: int, rows: int) -> Iterator[Any]:
    """A view of tables of TABLE_COLUMNS columns, joined by the number of the row."""
    import psycopg

    from fluxport.sources import open_source

    schema = f"width_{columns}_{os.getpid()}"
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        try:
            tables = []
            for number, part in enumerate(cut(range(columns), TABLE_COLUMNS)):
                kinds = [(f"c{k}", *POSTGRES_TYPES[kind_of(k)]) for k in part]
                values = ", ".join(
                    f"({term.format(k=k + 1)})::{kind} AS {name}"
                    for k, (name, kind, term) in zip(part, kinds, strict=True)
                )
                tables.append(f"{schema}.t{number}")
                made = (
                    f"CREATE TABLE {tables[-1]} AS SELECT s AS id, {values} FROM generate_series(1, {rows}::bigint) s"
                )
                connection.execute(made.encode())
            names = ", ".join(f"c{k}" for k in range(columns))
            joined = tables[0] + "".join(f" JOIN {table} USING (id)" for table in tables[1:])
            yield open_source(POSTGRES, f"SELECT {names} FROM {joined}")
        finally:
            connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


@contextlib.contextmanager
def sensors(columns: int, rows: int, *, wide: bool = True) -> Iterator[Any]:
    """Half as many sensors as columns: each has a value and a quality. Callers may request at most 200."""
    import numpy as np

    from fluxport.series import Points
    from fluxport.series.embedded import EmbeddedOptions, EmbeddedStore
    from fluxport.sources.series import Selection, SeriesSource

    folder = support.scratch("width-sensors")
    folder.mkdir()
    store = EmbeddedStore(folder / "series.db", EmbeddedOptions(chunk_points=CHUNK_POINTS))
    try:
        number, quality = np.arange(rows, dtype=np.int64), np.ones(rows, np.uint8)
        names = tuple(f"s{k}" for k in range(columns // 2))
        for k, name in enumerate(names):
            values = ((number + 1) * (k + 1) * 0.1).astype(np.float64)
            points = Points(1_600_000_000_000 + number * 1000, values, quality)
            first = CHUNK_POINTS + k % 97  # so chunks of different sensors end at different times
            for part in (points[:first], points[first:]):
                store.append([(name, part)])
        yield SeriesSource(store, Selection(names, several=True, wide=wide))
    finally:
        store.close()
        support.remove(folder)


SOURCES: dict[str, Callable[[int, int], contextlib.AbstractContextManager[Any]]] = {
    "Arrow in memory": in_memory,
    "Flight, batches": flight,
    "gRPC push, Arrow": pushed_arrow,
    "gRPC push, text": pushed_text,
    "PostgreSQL": postgresql,
    "SQLite": sqlite,
    "sensors, a column each": sensors,
    LONG: partial(sensors, wide=False),
}


def one(name: str, columns: int, rows: int) -> dict[str, float]:
    """CPU seconds of one source, and its rows in a batch; runs in a separate process."""
    from fluxport import formats
    from fluxport.findings import Findings

    encoder = formats.encoder("csv", formats.options("csv", {}), Findings())
    sizes: list[int] = []

    def counted(source: Any) -> Any:
        for batch in source.batches():
            sizes.append(batch.num_rows)
            yield batch

    with SOURCES[name](columns, rows) as source:
        began = time.process_time()
        for _ in encoder.encode(source.schema, counted(source)):
            pass
        used = time.process_time() - began
    expected = rows * (columns // 2) if name == LONG else rows
    if sum(sizes) != expected:
        raise SystemExit(f"{sum(sizes):,} rows instead of {expected:,}")
    return {"cpu": used, "rows": expected / len(sizes), "cells": expected * len(source.schema)}


def best_of(runs: int, name: str, columns: int, rows: int) -> dict[str, float] | str:
    """The run with the least CPU time, or the reason why there is none."""
    results = [support.alone(str(Path(__file__)), True, name, str(columns), str(rows)) for _ in range(runs)]
    figures = [each for each in results if not isinstance(each, str)]
    return min(figures, key=lambda each: each["cpu"]) if figures else results[0]


def curves(report: Report, cells: int, runs: int) -> None:
    report.line(f"\nOther sources to CSV, {cells:,} cells, best of {runs}: CPU ns for each cell (rows of a batch)")
    report.line(f"  {'columns':24}" + "".join(f"{columns:>16}" for columns in WIDTHS))
    verdicts = []
    for name in SOURCES:
        found: list[tuple[float, float] | str] = []
        for columns in WIDTHS:
            rows = max(2, cells // columns)
            whole, start = (best_of(runs, name, columns, count) for count in (rows, 1))
            if isinstance(whole, str) or isinstance(start, str):
                found.append(whole if isinstance(whole, str) else str(start))
            else:
                each = (whole["cpu"] - start["cpu"]) / (whole["cells"] - start["cells"])
                found.append((each * 1e9, whole["rows"]))
        shown = ("missing" if isinstance(each, str) else f"{each[0]:.0f} ({each[1]:,.0f})" for each in found)
        report.line(f"  {name:24}" + "".join(f"{each:>16}" for each in shown))
        report.lines(f"    {each}" for each in dict.fromkeys(each for each in found if isinstance(each, str)))
        narrow, wide = found[0], found[-1]
        if not isinstance(narrow, str) and not isinstance(wide, str):
            what = f"{name}, a cell of {WIDTHS[-1]} columns beside {WIDTHS[0]}"
            verdicts.append(support.verdict(what, wide[0] / narrow[0], CELL_MAX, "x"))
    report.lines(verdicts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=3, metavar=("SOURCE", "COLUMNS", "ROWS"), required=True)
    name, columns, rows = parser.parse_args().one
    print(json.dumps(one(name, int(columns), int(rows))))


if __name__ == "__main__":
    main()
