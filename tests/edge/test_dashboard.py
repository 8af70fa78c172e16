"""The dashboard in Chromium: the saved file has the points of the dragged range."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest

from fluxport.series import Description, Points
from fluxport.series.embedded import EmbeddedStore
from series_support import T0, csv_of, points, walk
from service_support import Client, service
from services import require_program, unavailable

BROWSER = Path(__file__).resolve().parent.parent / "browser"
A = walk(200_000)
B = walk(2_000, step=100_000, seed=2)
END = int(A.ms[-1])


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts of the scenarios and their dependencies."""
    folder = tmp_path_factory.mktemp("browser")
    for file in ("package.json", "dashboard.mjs"):
        shutil.copy(BROWSER / file, folder)
    install = [require_program("npm"), "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    if subprocess.run(install, cwd=folder, capture_output=True, timeout=180, check=False).returncode:
        unavailable("playwright-core from the npm registry")
    return folder


@contextmanager
def dashboard(folder: Path, **settings: str) -> Iterator[Client]:
    store = EmbeddedStore(folder / "series.db")
    store.append([("A", A), ("plant/line 1", B), ("other", points([], []))])
    store.describe("A", Description("Boiler", "°C"))
    store.describe("other", Description("Without points"))
    store.close()
    with service(folder, "", "--no-worker", FLUXPORT_SERIES__PATH=str(folder / "series.db"), **settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with dashboard(tmp_path_factory.mktemp("dashboard")) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Client]:
    """A service that a test may change and end."""
    with dashboard(tmp_path) as running:
        yield running


def played(
    driver: Path, client: Client, folder: Path, scenario: str, part: Callable[[], None] | None = None
) -> dict[str, Any]:
    """The result of a scenario of dashboard.mjs; ``part`` is called when the scenario is ready for it."""
    chromium = require_program("chromium", "chromium-browser", "google-chrome")
    command = [require_program("node"), "dashboard.mjs", scenario, client.base, str(folder), chromium]
    process = subprocess.Popen(
        command, cwd=driver, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    if part is not None and process.stdout.readline() == "ready\n":
        part()
        process.stdin.write("done\n")
        process.stdin.flush()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    seen: dict[str, Any] = json.loads(out)
    assert seen["foreign"] == [], "a page without foreign requests"
    return seen


def between(whole: Points, requested: dict[str, int]) -> Points:
    return whole.between(requested["start"], requested["end"])


def test_the_saved_file_is_the_dragged_range_byte_for_byte(driver: Path, client: Client, tmp_path: Path) -> None:
    seen = played(driver, client, tmp_path, "drag")
    requested, shown = seen["requested"], seen["seen"]
    assert (shown["start"], shown["end"]) == (T0, END)
    pixel = (END - T0) / seen["width"]
    assert requested["start"] == pytest.approx(T0 + 0.31 * (END - T0), abs=1.5 * pixel)
    assert requested["end"] == pytest.approx(T0 + 0.62 * (END - T0), abs=1.5 * pixel)
    assert seen["csv"] == f"A_{requested['start']}_{requested['end']}.csv"
    expected = between(A, requested)
    assert 50_000 < len(expected) < 70_000
    assert (tmp_path / seen["csv"]).read_bytes() == csv_of(expected)
    assert f"{len(expected):,} rows" in seen["status"]
    sheet = openpyxl.load_workbook(io.BytesIO((tmp_path / seen["xlsx"]).read_bytes()), read_only=True).worksheets[0]
    assert [row[0] for row in sheet.iter_rows(min_row=2, max_col=1, values_only=True)] == expected.ms.tolist()
    assert seen["noise"] == []


def test_several_sensors_and_intervals_are_saved_as_chosen(driver: Path, client: Client, tmp_path: Path) -> None:
    seen = played(driver, client, tmp_path, "several")
    query = {
        "sensor_id": ["A", "plant/line 1"],
        "start_ts": seen["requested"]["start"],
        "end_ts": seen["requested"]["end"],
        "layout": "wide",
        "aggregate": "max",
        "interval": "5m",
    }
    saved = (tmp_path / seen["csv"]).read_bytes()
    assert saved == httpx.get(f"{client.base}/api/v1/export", params=query).content
    assert saved.startswith(b"timestamp_ms,A,A_quality,plant/line 1,plant/line 1_quality\n")
    assert saved.count(b"\n") > 100


def test_typed_bounds_are_exact_to_the_millisecond(driver: Path, client: Client, tmp_path: Path) -> None:
    seen = played(driver, client, tmp_path, "exact")
    assert seen["requested"] == {"start": T0 + 1000, "end": T0 + 3000}
    assert (tmp_path / seen["csv"]).read_bytes() == csv_of(A[1:4])


def test_everything_works_by_keyboard(driver: Path, client: Client, tmp_path: Path) -> None:
    seen = played(driver, client, tmp_path, "keyboard")
    span = seen["before"]["end"] - seen["before"]["start"]
    assert seen["zoomed"]["end"] - seen["zoomed"]["start"] == pytest.approx(span / 2, rel=0.01)
    assert (tmp_path / seen["csv"]).read_bytes() == csv_of(between(A, seen["requested"]))


def test_a_finger_selects_and_nothing_is_wider_than_a_phone(driver: Path, client: Client, tmp_path: Path) -> None:
    seen = played(driver, client, tmp_path, "phone")
    assert seen["wide"] <= 0
    shown, requested = seen["seen"], seen["requested"]
    part = (requested["end"] - requested["start"]) / (shown["end"] - shown["start"])
    assert part == pytest.approx(0.4, abs=0.05)
    assert (tmp_path / seen["csv"]).read_bytes() == csv_of(between(A, requested))


def test_sensors_can_be_searched(driver: Path, client: Client, tmp_path: Path) -> None:
    seen = played(driver, client, tmp_path, "search")
    assert seen["all"] >= 3
    assert len(seen["found"]) == 1
    assert "Boiler" in seen["found"][0]


def test_the_view_zooms_and_stands_in_the_address(driver: Path, client: Client, tmp_path: Path) -> None:
    seen = played(driver, client, tmp_path, "zoom")
    before, wheel = seen["before"], seen["wheel"]
    assert wheel["end"] - wheel["start"] < 0.6 * (before["end"] - before["start"])
    assert before["start"] < wheel["start"] < wheel["end"] < before["end"]
    assert seen["zoomed"] == seen["selected"] == seen["reloaded"]
    assert seen["all"] == {"start": T0, "end": END}


def test_failures_are_reported_and_nothing_is_saved(driver: Path, own: Client, tmp_path: Path) -> None:
    seen = played(driver, own, tmp_path, "failures", lambda: os.kill(own.pid, signal.SIGKILL))
    assert "no sensor 'nobody'" in seen["unknown"]
    assert "no points in this range" in seen["empty"]
    assert "cannot be reached" in seen["gone"]
    assert seen["downloads"] == 0


def test_a_file_that_breaks_on_its_way_is_not_saved(driver: Path, own: Client, tmp_path: Path) -> None:
    seen = played(driver, own, tmp_path, "broken", lambda: os.kill(own.pid, signal.SIGKILL))
    assert re.search(r"[\d.]+ kB, [\d,]+ rows", seen["progress"])
    assert "connection broke" in seen["broken"]
    assert seen["downloads"] == 0


def test_new_points_show_while_live(driver: Path, own: Client, tmp_path: Path) -> None:
    def arrive() -> None:
        now = round(time.time() * 1000)
        for later, value, quality in ((0, 123.456, 1), (1, 99.5, 0)):
            if later:
                time.sleep(4)
            body = {"timestamp_ms": now + later, "value": value, "quality": quality}
            assert own.post("/v1/sensors/A/points", body).status_code == 200

    seen = played(driver, own, tmp_path, "live", lambda: threading.Thread(target=arrive).start())
    assert abs(seen["shown"]["end"] - seen["now"]) < 30_000


def test_where_sensors_are_closed_people_sign_in_first(driver: Path, tmp_path: Path) -> None:
    with dashboard(tmp_path, FLUXPORT_SERIES__OPEN="off") as closed:
        seen = played(driver, closed, tmp_path, "signin")
    assert (tmp_path / seen["csv"]).read_bytes() == csv_of(between(A, seen["requested"]))


def test_the_page_is_accessible(driver: Path, client: Client, tmp_path: Path) -> None:
    assert played(driver, client, tmp_path, "accessible")["found"] == []
