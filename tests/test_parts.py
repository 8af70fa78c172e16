"""One run as several files: where they are split, what each contains, and that all or none are stored."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import polars
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from fluxport import formats
from fluxport.errors import LimitExceeded, Refused, Unavailable
from fluxport.findings import Findings
from fluxport.formats.compress import COMPRESSIONS
from fluxport.partfiles import manifest_name, part_name
from fluxport.pipeline import Part, Split, Tally, parts
from fluxport.plan import Connection, check, of_query
from fluxport.spec import ExportSpec
from fluxport.stages import Batches, Chunks, Compress, Encoder, Limits
from rows_source import RowsSource

ROWS = 2500


def numbers(rows: int) -> pa.Table:
    texts = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(rows)]
    return pa.table({"n": pa.array(range(rows), pa.int64()), "t": pa.array(texts, pa.string())})


def cut(source: RowsSource, split: Split, name: str = "csv", packed: str = "none", **given: Any) -> list[bytes]:
    """The files; each is checked against its own tally."""

    def encoder(findings: Findings) -> Encoder:
        return formats.encoder(name, formats.options(name, {}), findings)

    made = []
    compress = COMPRESSIONS[packed].apply
    for part in parts(source, (), encoder, split, findings=Findings(), compress=compress, **given):
        data = b"".join(part.chunks)
        made.append(data)
        assert (part.number, part.tally.complete) == (len(made), True)
        assert (part.tally.size_bytes, part.tally.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert part.tally.columns == [("n", "int64"), ("t", "string")]
    assert source.closed.is_set()
    return made


def read(data: bytes) -> list[int]:
    """The numbers of a CSV, by Python's reader; the header must be there."""
    rows = list(csv.reader(io.StringIO(data.decode())))
    assert rows[0] == ["n", "t"]
    return [int(n) for n, _ in rows[1:]]


@pytest.mark.parametrize(
    ("rows", "each", "counts"),
    [(0, 10, [0]), (9, 10, [9]), (10, 10, [10]), (20, 10, [10, 10]), (21, 10, [10, 10, 1]), (3, 1, [1, 1, 1])],
)
def test_every_file_but_the_last_has_exactly_that_many_rows(rows: int, each: int, counts: list[int]) -> None:
    tally = Tally()
    files = cut(RowsSource(numbers(rows), 7), Split(rows=each), tally=tally)
    assert [len(read(data)) for data in files] == counts
    assert (tally.rows, tally.size_bytes, tally.complete) == (rows, sum(map(len, files)), True)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.integers(1, 60), st.integers(1, 60), st.none() | st.integers(120, 4000))
def test_the_files_hold_all_rows_in_order_within_both_bounds(
    rows: int, each: int, batch: int, size: int | None
) -> None:
    files = cut(RowsSource(numbers(rows), batch), Split(each, size))
    assert [n for data in files for n in read(data)] == list(range(rows))
    assert all(len(read(data)) <= each for data in files)
    assert size is None or all(len(data) <= size for data in files)


@pytest.mark.parametrize("packed", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("name", ["csv", "tsv", "jsonl", "json", "xlsx", "parquet", "arrow"])
def test_no_file_exceeds_the_requested_bytes_and_most_nearly_reach_them(name: str, packed: str) -> None:
    size = 150_000
    files = cut(RowsSource(numbers(10_000), 250), Split(size_bytes=size), name, packed)
    assert len(files) > 2
    least = 0.75 if packed == "none" else 0.6
    assert all(size * least < len(data) <= size for data in files[:-1])
    assert len(files[-1]) <= size


@pytest.mark.parametrize("packed", ["none", "gzip", "zstd"])
def test_rows_that_hardly_differ_stay_within_the_requested_bytes(packed: str) -> None:
    """A compressor then takes much more than it gives."""
    same = pa.table({"n": pa.array([1] * 200_000, pa.int64()), "t": ["running, 20 degrees, line 7"] * 200_000})
    files = cut(RowsSource(same, 5000), Split(size_bytes=20_000 if packed == "gzip" else 4000_000), packed=packed)
    assert len(files) > (1 if packed != "zstd" else 0)


@pytest.mark.parametrize("packed", ["none", "gzip", "zstd"])
def test_one_row_may_take_almost_all_of_a_file(packed: str) -> None:
    one = pa.table({"n": pa.array([1], pa.int64()), "t": [Random(3).randbytes(50_000).hex()]})
    (whole,) = cut(RowsSource(one), Split(rows=10), packed=packed)
    assert cut(RowsSource(one), Split(size_bytes=int(len(whole) * 1.03)), packed=packed) == [whole]


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_where_packed_files_end_does_not_depend_on_time(packed: str) -> None:
    """However far the compressor has got when the next rows are looked at."""
    compress = COMPRESSIONS[packed].apply
    assert compress is not None

    def slow(chunks: Chunks) -> Chunks:
        for chunk in compress(chunks):
            time.sleep(0.01)
            yield chunk

    def encoder(findings: Findings) -> Encoder:
        return formats.encoder("csv", formats.options("csv", {}), findings)

    def sizes(compress: Compress) -> list[int]:
        source = RowsSource(numbers(60_000), 2000)
        made = parts(source, (), encoder, Split(size_bytes=1_000_000), findings=Findings(), compress=compress)
        return [sum(map(len, part.chunks)) for part in made]

    assert sizes(slow) == sizes(compress)


def unlike(batches: int) -> pa.Table:
    """Numbers, words and CJK characters in turn, for 400 rows each: packed alone they take less than together."""
    random = Random(5)
    kinds: list[Callable[[int], str]] = [
        str,
        lambda _: random.randbytes(16).hex(),
        lambda _: "".join(chr(random.randrange(0x4E00, 0x9FA5)) for _ in range(8)),
        lambda _: "aaaa",
        lambda row: f"The quick brown fox {row}",
    ]
    rows = range(400 * batches)
    return pa.table({"n": pa.array(rows, pa.int64()), "t": [kinds[row // 400 % len(kinds)](row) for row in rows]})


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
@pytest.mark.parametrize(("size", "least"), [(60_000, 0.7), (1_000_000, 0.7)])
def test_packed_files_of_unlike_rows_do_not_exceed_the_requested_bytes(packed: str, size: int, least: float) -> None:
    """Such files are up to a quarter larger than their batches as files of their own."""
    files = cut(RowsSource(unlike(60 * size // 60_000), 400), Split(size_bytes=size), "jsonl", packed)
    assert len(files) > 2
    assert all(size * least < len(data) <= size for data in files[:-1])


def test_packed_files_unpack_to_whole_files() -> None:
    files = cut(RowsSource(numbers(ROWS)), Split(size_bytes=20_000), packed="gzip")
    assert [n for data in files for n in read(gzip.decompress(data))] == list(range(ROWS))


def test_parquet_files_are_read_together_by_a_foreign_reader(tmp_path: Path) -> None:
    for number, data in enumerate(cut(RowsSource(numbers(ROWS)), Split(rows=1000), "parquet")):
        (tmp_path / f"{number}.parquet").write_bytes(data)
    assert polars.read_parquet(tmp_path / "*.parquet")["n"].to_list() == list(range(ROWS))


def test_a_row_that_no_file_can_hold_ends_the_export_in_a_sentence() -> None:
    with pytest.raises(LimitExceeded, match="one row is larger than 'max_bytes_per_file', 50") as raised:
        cut(RowsSource(numbers(10)), Split(size_bytes=50))
    assert raised.value.code == "row_too_large"


class Growing:
    """Bytes that a file of several batches has more of than its batches have alone."""

    def encode(self, schema: pa.Schema, batches: Batches) -> Chunks:
        for number, _ in enumerate(batches):
            yield b"x" * (10 + 20 * number)


def test_a_file_that_outgrows_its_measured_batches_ends_the_export_instead_of_exceeding_the_size() -> None:
    files = parts(RowsSource(numbers(4), 1), (), lambda findings: Growing(), Split(size_bytes=64), findings=Findings())
    with pytest.raises(LimitExceeded, match="limit of 64 bytes") as raised:
        for part in files:
            for _ in part.chunks:
                pass
    assert raised.value.code == "too_many_bytes"


def test_the_bytes_of_all_files_may_reach_the_limit_and_not_exceed_it() -> None:
    size = sum(map(len, cut(RowsSource(numbers(100)), Split(rows=10))))
    assert len(cut(RowsSource(numbers(100)), Split(rows=10), limits=Limits(bytes_max=size))) == 10
    with pytest.raises(LimitExceeded):
        cut(RowsSource(numbers(100)), Split(rows=10), limits=Limits(bytes_max=size - 1))


def test_limits_are_those_of_all_files_together() -> None:
    tally = Tally()
    assert len(cut(RowsSource(numbers(100)), Split(rows=10), limits=Limits(rows=25), tally=tally)) == 3
    assert (tally.rows, tally.truncated) == (25, True)
    with pytest.raises(LimitExceeded, match="2,000 bytes"):
        cut(RowsSource(numbers(100)), Split(rows=10), limits=Limits(bytes_max=2000))


def test_a_lost_source_comes_up_as_itself_and_no_file_after_it_begins() -> None:
    lost = Unavailable("the database went away")
    source, tally = RowsSource(numbers(100), 10, error=lost, error_after=5), Tally()
    with pytest.raises(Unavailable) as raised:
        cut(source, Split(rows=20), tally=tally)
    assert raised.value is lost
    assert not tally.complete
    assert source.closed.is_set()


def test_leaving_a_file_half_way_ends_everything() -> None:
    before = threading.active_count()
    source = RowsSource(numbers(200_000), stall=True, error_after=100)

    def csv_encoder(findings: Findings) -> Encoder:
        return formats.encoder("csv", formats.options("csv", {}), findings)

    made = parts(source, (), csv_encoder, Split(rows=50_000), findings=Findings())
    with closing(made):
        part: Part = next(made)
        next(part.chunks)
        part.chunks.close()
        assert list(made) == []
    assert source.closed.is_set()
    assert threading.active_count() == before


def test_only_a_few_batches_are_ever_ahead_of_the_files() -> None:
    source = RowsSource(numbers(100_000), 1000)

    def arrow(findings: Findings) -> Encoder:
        return formats.encoder("arrow", formats.options("arrow", {}), findings)

    for part in parts(source, (), arrow, Split(rows=1000), findings=Findings()):
        for _ in part.chunks:
            pass
        assert source.pulled <= part.number + 5


NOWHERE = Connection("main", "sqlite:///nowhere.db")


@pytest.mark.parametrize("options", [{"max_rows_per_file": 5}, {"max_bytes_per_file": 5}, {"on_row_limit": "new_file"}])
def test_where_only_one_file_fits_several_are_refused(options: dict[str, Any]) -> None:
    spec = ExportSpec(format="xlsx", options=options)
    with pytest.raises(Refused, match="A stream holds one file") as raised:
        check(spec, of_query(spec, NOWHERE, lambda: "SELECT 1"), limits=Limits())
    assert raised.value.code == "one_file_only"
    archive = ExportSpec(format="xlsx", options=options, compression="zip")
    assert check(archive, of_query(archive, NOWHERE, lambda: "SELECT 1"), limits=Limits()).form.split


@pytest.mark.parametrize("option", ["max_rows_per_file", "max_bytes_per_file"])
def test_a_file_of_nothing_is_refused(option: str) -> None:
    for rows in (0, -1):
        spec = ExportSpec(options={option: rows})
        with pytest.raises(Refused, match="takes 1 or more"):
            check(spec, of_query(spec, NOWHERE, lambda: "SELECT 1"), limits=Limits(), may_split=True)
    spec = ExportSpec(options={option: 1})
    assert check(spec, of_query(spec, NOWHERE, lambda: "SELECT 1"), limits=Limits(), may_split=True).form.split


def test_a_limit_of_no_rows_is_one_and_less_is_refused() -> None:
    spec = ExportSpec(options={"limit": 0})
    assert check(spec, of_query(spec, NOWHERE, lambda: "SELECT 1"), limits=Limits()).limits.rows == 0
    spec = ExportSpec(options={"limit": -1})
    with pytest.raises(Refused, match="cannot be negative") as raised:
        check(spec, of_query(spec, NOWHERE, lambda: "SELECT 1"), limits=Limits())
    assert raised.value.code == "bad_option"


def test_names_get_the_number_before_the_suffix_or_in_place_of_part() -> None:
    assert part_name("a.b.csv", ".csv", 3) == "a.b-3.csv"
    assert part_name("A.CSV", ".csv", 3) == "A-3.csv"
    assert part_name("a.csv.gz", ".csv.gz", 12) == "a-12.csv.gz"
    assert part_name("a.txt", ".csv", 1) == "a-1.txt"
    assert part_name("p{part}-of-a.csv", ".csv", 2) == "p2-of-a.csv"
    assert [manifest_name(name, ".csv") for name in ("a.csv", "a-{part}.csv", "{part}.csv")] == [
        "a.manifest.json",
        "a.manifest.json",
        "export.manifest.json",
    ]


# -- the command line --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an SQLite database of ROWS rows, and an empty folder ``out``."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as database:
        database.execute("CREATE TABLE t (n INTEGER, x TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?)", ((n, f"text {n}") for n in range(ROWS)))
        database.commit()
    (tmp_path / "out").mkdir()
    return tmp_path


def fluxport(folder: Path, query: str, target: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "fluxport", "export", query, "--from", f"sqlite:///{folder}/app.db"]
    return subprocess.run(
        [*command, "--to", target, *words],
        cwd=folder / "out",
        env=os.environ,
        capture_output=True,
        timeout=60,
        check=False,
    )


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "out").iterdir())


def test_the_manifest_and_the_result_describe_the_files(folder: Path) -> None:
    done = fluxport(folder, "SELECT * FROM t ORDER BY n", "a.csv", "-o", "max_rows_per_file=1000", "--json")
    assert done.returncode == 0, done.stderr
    assert left_in(folder) == ["a-1.csv", "a-2.csv", "a-3.csv", "a.manifest.json"]
    manifest = json.loads((folder / "out/a.manifest.json").read_text())
    numbers_read: list[int] = []
    for file in manifest["files"]:
        data = (folder / "out" / file["name"]).read_bytes()
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        assert (file["rows"], file["bytes"]) == (len(rows), len(data))
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        numbers_read += [int(row["n"]) for row in rows]
    assert numbers_read == list(range(ROWS))
    assert (manifest["rows"], [c["name"] for c in manifest["columns"]]) == (ROWS, ["n", "x"])
    reported = json.loads(done.stdout)
    assert reported["location"] == str(folder / "out/a.manifest.json")
    assert (reported["rows"], reported["bytes"]) == (ROWS, sum(file["bytes"] for file in manifest["files"]))
    assert [Path(file["location"]).name for file in reported["files"]] == [file["name"] for file in manifest["files"]]


def test_a_template_in_a_folder_places_the_number(folder: Path) -> None:
    words = ("-o", "max_bytes_per_file=15000", "--format", "csv", "--filename", "part {part} of t")
    done = fluxport(folder, "SELECT * FROM t", "./", *words)
    assert done.returncode == 0, done.stderr
    assert left_in(folder) == ["part 1 of t.csv", "part 2 of t.csv", "part 3 of t.csv", "part of t.manifest.json"]
    assert b"part 3 of t.csv: " in done.stdout
    assert b"3 files" in done.stdout


def test_no_rows_are_one_file(folder: Path) -> None:
    assert fluxport(folder, "SELECT * FROM t WHERE 0", "a.csv", "-o", "max_rows_per_file=5").returncode == 0
    assert left_in(folder) == ["a-1.csv", "a.manifest.json"]
    assert (folder / "out/a-1.csv").read_bytes() == b"n,x\n"


def test_an_export_that_fails_in_its_third_file_leaves_none_and_the_old_ones_as_they_were(folder: Path) -> None:
    (folder / "out/a-1.csv").write_text("old")
    broken = f"SELECT n, CASE WHEN n < {ROWS - 1} THEN '' ELSE json('[') END AS x FROM t ORDER BY n"
    done = fluxport(folder, broken, "a.csv", "-o", "max_rows_per_file=1000", "--no-guard")
    assert done.returncode != 0
    assert b"json" in done.stderr.lower()
    assert left_in(folder) == ["a-1.csv"]
    assert (folder / "out/a-1.csv").read_text() == "old"


def test_a_name_that_is_taken_by_a_folder_leaves_the_old_files(folder: Path) -> None:
    (folder / "out/a-3.csv").mkdir()
    (folder / "out/a-1.csv").write_text("old")
    done = fluxport(folder, "SELECT * FROM t", "a.csv", "-o", "max_rows_per_file=1000")
    assert done.returncode != 0
    assert b"a-3.csv" in done.stderr
    assert left_in(folder) == ["a-1.csv", "a-3.csv"]
    assert (folder / "out/a-1.csv").read_text() == "old"


def test_a_manifest_that_cannot_be_stored_leaves_the_old_files(folder: Path) -> None:
    (folder / "out/a.manifest.json").mkdir()
    (folder / "out/a-1.csv").write_text("old")
    done = fluxport(folder, "SELECT * FROM t", "a.csv", "-o", "max_rows_per_file=1000")
    assert done.returncode != 0
    assert left_in(folder) == ["a-1.csv", "a.manifest.json"]
    assert (folder / "out/a-1.csv").read_text() == "old"


def test_strict_counts_over_all_files(folder: Path) -> None:
    query = f"SELECT n, CASE WHEN n = {ROWS - 1} THEN '=1' ELSE '' END AS x FROM t ORDER BY n"
    done = fluxport(folder, query, "a.csv", "-o", "max_rows_per_file=1000", "--strict")
    assert done.returncode == 3
    assert left_in(folder) == []


@pytest.mark.parametrize("target", ["-", "/dev/null"])
def test_a_stream_holds_one_file(folder: Path, target: str) -> None:
    done = fluxport(folder, "SELECT * FROM t", target, "--format", "csv", "-o", "max_rows_per_file=1000")
    assert done.returncode != 0
    assert b"A stream holds one file" in done.stderr
    assert done.stdout == b""


def test_new_file_fills_one_sheet_per_workbook(folder: Path) -> None:
    """``start_row`` leaves six rows after the header of a sheet."""
    words = ("-o", "on_row_limit=new_file", "-o", "start_row=1048570")
    done = fluxport(folder, "SELECT * FROM t WHERE n < 14 ORDER BY n", "a.xlsx", *words)
    assert done.returncode == 0, done.stderr
    assert left_in(folder) == ["a-1.xlsx", "a-2.xlsx", "a-3.xlsx", "a.manifest.json"]
    read_back: list[list[int]] = []
    for number in (1, 2, 3):
        book = CalamineWorkbook.from_path(folder / "out" / f"a-{number}.xlsx")
        assert book.sheet_names == ["Sheet1"]
        rows = book.get_sheet_by_index(0).to_python(skip_empty_area=True)
        assert rows[0] == ["n", "x"]
        read_back.append([int(row[0]) for row in rows[1:]])  # type: ignore[arg-type]  # openpyxl tells no types of cells
    assert read_back == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11], [12, 13]]
