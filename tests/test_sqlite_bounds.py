"""SQLite: limits of one statement in time, memory and disk space."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fluxport.errors import LimitExceeded, Unavailable
from fluxport.sources import open_source
from fluxport.sources.sqlite.bounds import TEMPORARY_BYTES, disk_is_low
from fluxport.stages import Limits
from mysql_support import read_all, wait_until

ENDLESS = "WITH RECURSIVE s (g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s)"
DOUBLED = (
    "WITH RECURSIVE r (n, s) AS (SELECT 1, 'aaaaaaaaaaaaaaaa' UNION ALL SELECT n + 1, s || s FROM r WHERE n < {}) "
    "SELECT {} FROM r"
)
# Reads the rows of argv[2] from argv[1] with a deadline, and prints how it ended and what it took, in KiB.
CHILD = """
import resource, sys
from fluxport.errors import FluxportError
from fluxport.sources import open_source
from fluxport.stages import Limits
source = open_source(sys.argv[1], sys.argv[2], limits=Limits(deadline_s=float(sys.argv[3])))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    end = sum(batch.num_rows for batch in source.batches())
except FluxportError as error:
    end = error.code
print(end, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    connection = sqlite3.connect(tmp_path / "t.db")
    connection.execute("CREATE TABLE t (v)")
    connection.close()
    return f"sqlite:///{tmp_path}/t.db"


def in_child(url: str, query: str, deadline_s: float = 30.0) -> tuple[str, int]:
    """How the query ends in a separate process, and its memory in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, url, query, str(deadline_s)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"},
    )
    end, taken = done.stdout.split()
    return end, int(taken)


def test_a_value_that_doubles_with_every_row_is_refused_before_it_takes_the_memory(url: str) -> None:
    end, taken = in_child(url, DOUBLED.format(26, "length(s)"))
    assert end in {"cell_too_large", "query_too_costly", "deadline"}
    assert taken < 700 << 10


def test_many_large_values_in_one_row_are_refused(url: str) -> None:
    end, taken = in_child(url, DOUBLED.format(21, ", ".join(f"s || {n}" for n in range(60))))
    assert end in {"query_too_costly", "row_too_large"}
    assert taken < 1_800 << 10  # the largest row that SQLite could hold, and copies of it on its way


def test_what_is_sorted_does_not_rest_in_memory(url: str) -> None:
    rows = "WITH RECURSIVE s (g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s WHERE g < 300000)"
    end, taken = in_child(url, f"{rows} SELECT g, printf('%.200c', 'x') AS t FROM s ORDER BY t, g DESC", 120)
    assert end == "300000"
    assert taken < 60 << 10  # the rows are 65 MB


def test_large_rows_after_small_ones_come_a_few_at_a_time(tmp_path: Path, url: str) -> None:
    connection = sqlite3.connect(tmp_path / "t.db")
    with connection:
        connection.executemany("INSERT INTO t VALUES (?)", [("small",)] * 100 + [("x" * 1_000_000,)] * 60)
    connection.close()
    sizes = [batch.nbytes for batch in open_source(url, "SELECT v FROM t").batches()]
    assert max(sizes) < 4_000_000


@pytest.mark.parametrize(
    "query",
    [
        f"{ENDLESS} SELECT g FROM s WHERE g < 0",
        f"{ENDLESS} SELECT count(*) FROM s",
        f"{ENDLESS} SELECT g FROM s ORDER BY g DESC",
        f"{ENDLESS} SELECT g FROM s",
        f"{ENDLESS} SELECT DISTINCT g % 3 FROM s",
        f"SELECT (SELECT count(*) FROM ({ENDLESS} SELECT g FROM s))",
    ],
)
def test_the_deadline_ends_a_query_in_every_phase(url: str, query: str) -> None:
    with pytest.raises(Unavailable) as caught:
        read_all(url, query, limits=Limits(deadline_s=0.5))
    assert caught.value.code == "deadline"


def test_the_deadline_ends_a_query_whose_steps_are_few_and_long(url: str) -> None:
    """Each row takes a tenth of a second in one step; the progress handler would be called after hundreds of them."""
    text = "(SELECT s FROM (WITH RECURSIVE r (n, s) AS (SELECT 1, 'aaaaaaaaaaaaaaaa' UNION ALL SELECT n + 1, s || s "
    text += "FROM r WHERE n < 15) SELECT s FROM r ORDER BY n DESC LIMIT 1))"
    query = f"{ENDLESS} SELECT instr({text}, substr({text}, 1, 100000) || g) AS n FROM s"
    assert in_child(url, query, 1.0)[0] == "deadline"


def test_the_deadline_ends_the_wait_for_a_writer(tmp_path: Path, url: str) -> None:
    writer = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    end, _ = in_child(f"{url}?busy-timeout=3600", "SELECT v FROM t", 0.5)
    writer.close()
    assert end == "deadline"


def test_the_limit_of_a_cell_holds_for_values_on_the_way(url: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        read_all(url, DOUBLED.format(22, "length(s)"), limits=Limits(cell_bytes_max=4 << 20))
    assert caught.value.code == "cell_too_large"


def test_a_row_of_many_large_cells_is_refused_by_its_number(url: str) -> None:
    query = f"SELECT {', '.join(['x'] * 5)} FROM (SELECT hex(zeroblob(500000)) AS x)"
    with pytest.raises(LimitExceeded, match=r"Row 1 has more than 4,194,304 bytes") as caught:
        read_all(url, query, limits=Limits(cell_bytes_max=1 << 20))
    assert caught.value.code == "row_too_large"


@pytest.mark.skipif(sys.platform != "linux", reason="temporary files are looked for in /proc")
def test_temporary_files_that_fill_the_disk_are_detected(url: str) -> None:
    everything = 1 << 62
    assert not disk_is_low(everything)
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute("PRAGMA temp_store = FILE")
    rows = TEMPORARY_BYTES // 200 * 2
    series = f"WITH RECURSIVE s (g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s WHERE g < {rows})"
    cursor = connection.execute(f"{series} SELECT g, printf('%.200c', 'x') AS t FROM s ORDER BY t, g DESC")
    assert cursor.fetchone() is not None
    assert disk_is_low(everything)
    cursor.close()
    connection.close()
    assert wait_until(lambda: not disk_is_low(everything))
