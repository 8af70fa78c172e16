"""Tables of components with rows of other packages, whose metadata are in a folder of the test."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from fluxport.errors import Broken
from fluxport.plugins import Table


class Shape(NamedTuple):
    label: str
    aliases: tuple[str, ...] = ()


BUILT_IN = {"circle": Shape("Circle", ("disc",)), "square": Shape("Square")}


class Packages:
    """Packages beside ours, each with one module whose attributes are rows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, source: str, **entry_points: str) -> None:
        info = self._folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{entry} = {name}:{attribute}" for entry, attribute in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[fluxport.shapes]", *lines]))
        (self._folder / f"{name}.py").write_text(f"from {__name__} import Shape\n{source}")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Packages(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def table() -> Table[Shape]:
    return Table("shape", Shape, BUILT_IN)


def test_a_row_of_another_package_follows_the_built_in_ones(packages: Packages) -> None:
    packages.add("hexagons", "ROW = Shape('Hexagon', ('hexa',))", hexagon="ROW")
    shapes = table()
    assert list(shapes) == ["circle", "square", "hexagon"]
    assert shapes["hexagon"].label == "Hexagon"
    assert [shapes.find(name) for name in ("hexagon", "HEXA", "Disc", "star")] == ["hexagon", "hexagon", "circle", None]
    assert [shapes.package(name) for name in ("hexagon", "circle")] == ["hexagons 1.0", ""]


def test_an_unused_name_is_missing(packages: Packages) -> None:
    shapes = table()
    assert "star" not in shapes
    assert shapes.get("star") is None


def test_a_built_in_name_or_alias_cannot_be_replaced(packages: Packages, caplog: pytest.LogCaptureFixture) -> None:
    packages.add("thief", "ROW = Shape('Stolen', ('square',))", circle="ROW", disc="ROW", ring="ROW")
    shapes = table()
    assert list(shapes) == ["circle", "square", "ring"]
    assert [shapes[str(shapes.find(name))].label for name in ("circle", "disc", "square")] == [
        "Circle",
        "Circle",
        "Square",
    ]
    assert "The shape 'circle' of thief 1.0 is not used: this name is built in." in caplog.messages


def test_of_two_packages_with_one_name_the_first_by_name_is_used(
    packages: Packages, caplog: pytest.LogCaptureFixture
) -> None:
    packages.add("second", "ROW = Shape('Second')", star="ROW")
    packages.add("first", "ROW = Shape('First')", star="ROW")
    assert table()["star"].label == "First"
    assert caplog.messages == ["The shape 'star' of second 1.0 is not used: this name is that of first 1.0."]


@pytest.mark.parametrize(
    ("source", "entry", "why"),
    [
        ("import no_such_module", "ROW", "importing broken:ROW raised ModuleNotFoundError"),
        ("raise SystemExit(3)", "ROW", "importing broken:ROW raised SystemExit"),
        ("", "ROW", "importing broken:ROW raised AttributeError"),
        ("ROW = ('Star', ())", "ROW", f"broken:ROW is not a {__name__}.Shape"),
    ],
    ids=["no module", "ends the program", "no such object", "no row"],
)
def test_a_broken_package_is_one_sentence_and_stops_nothing_else(
    packages: Packages, caplog: pytest.LogCaptureFixture, source: str, entry: str, why: str
) -> None:
    packages.add("broken", source, star=entry)
    packages.add("whole", "ROW = Shape('Ring')", ring="ROW")
    shapes = table()
    sentence = f"The shape 'star' of the package broken 1.0 cannot be used: {why}; repair or remove the package."
    assert list(shapes) == list(shapes) == ["circle", "square", "ring"]
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [sentence]
    assert dict(shapes.broken()) == {"star": sentence}
    for _ in range(2):
        with pytest.raises(Broken) as caught:
            _ = shapes["star"]
        assert (caught.value.message, caught.value.code) == (sentence, "broken_plugin")


@pytest.mark.parametrize("name", ["Star", "st/ar", "s" * 33])
def test_a_name_that_could_not_be_written_everywhere_is_refused(packages: Packages, name: str) -> None:
    packages.add("oddly", "ROW = Shape('Star')", **{name: "ROW"})
    shapes = table()
    assert list(shapes) == ["circle", "square"]
    assert list(shapes.broken()) == [name]


def test_a_built_in_name_costs_no_look_at_the_installed_packages() -> None:
    """Start-up time: not even importlib.metadata is imported."""
    code = (
        "import sys; from fluxport.formats import FORMATS, canonical; assert canonical('NDJSON') == 'jsonl'; "
        "assert FORMATS['csv'].suffixes; print('importlib.metadata' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout == "False\n"
