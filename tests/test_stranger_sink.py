"""A sink of another package: configured, described, used and tested like built-in ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

MODULE = """
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fluxport.settings import Secret, setting
from fluxport.sinks import SinkEntry
from fluxport.sinks.local import LocalSink
from fluxport.sinks.options import SinkOptions

DROP = SinkEntry("fluxport_drop", "drop_sink", "DropOptions", "a drop folder")


@dataclass(frozen=True, kw_only=True)
class DropOptions(SinkOptions):
    type: Literal["drop"] = "drop"
    folder: Path = setting(description="where files are dropped")
    pin: Secret | None = setting(None, description="what opens it")


def drop_sink(options: DropOptions, *, overwrite: bool = False) -> LocalSink:
    return LocalSink(options.folder, overwrite=overwrite)
"""
TESTS = """
import pytest
from fluxport.sinks import SINKS, sink
from fluxport.testing import SinkCase, SinkContract
from fluxport_drop import DropOptions


class TestDrop(SinkContract):
    @pytest.fixture
    def subject(self, tmp_path):
        options = DropOptions(folder=tmp_path)
        return SinkCase(
            lambda overwrite: sink(options, overwrite=overwrite),
            lambda sink, location: open(location, "rb").read(),
            lambda sink: sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()),
        )
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "fluxport_drop.py").write_text(MODULE)
    (folder / "test_drop.py").write_text(TESTS)
    info = folder / "fluxport_drop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fluxport-drop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fluxport.sinks]\ndrop = fluxport_drop:DROP\n")
    return folder


def run(here: Path, *words: str, **store: str) -> subprocess.CompletedProcess[str]:
    if store:
        (here / "fluxport.yaml").write_text(json.dumps({"stores": {"other": {"type": "drop", **store}}}))
    environ = os.environ | {"PYTHONPATH": str(here)}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=here, env=environ, capture_output=True, text=True, check=False)


def test_its_settings_are_read_and_its_secrets_masked(folder: Path) -> None:
    shown = run(folder, "fluxport", "config", "show", folder="/drop", pin="1234")
    store = yaml.safe_load(shown.stdout)["stores"]["other"]
    assert (store["type"], store["folder"], store["links"]) == ("drop", "/drop", "store")
    assert "1234" not in shown.stdout


def test_a_setting_that_it_lacks_or_has_not_is_reported(folder: Path) -> None:
    unknown = run(folder, "fluxport", "config", "show", folder="/drop", foldr="/drop")
    assert unknown.stderr == "fluxport: Unknown setting 'stores.other.foldr'; did you mean 'folder'?\n"
    missing = run(folder, "fluxport", "config", "show", pin="1234")
    assert "a store of type drop needs a 'folder'" in missing.stderr


def test_the_schema_has_it(folder: Path) -> None:
    schema = json.loads(run(folder, "fluxport", "config", "schema").stdout)
    kinds = schema["properties"]["stores"]["additionalProperties"]["oneOf"]
    assert "drop" in [kind["properties"]["type"]["const"] for kind in kinds]


def test_check_tries_it(folder: Path, tmp_path: Path) -> None:
    checked = run(folder, "fluxport", "check", folder=str(tmp_path))
    assert f"ok    store other: can be written to, as {tmp_path}/." in checked.stdout


def test_it_fulfils_the_contract_of_sinks(folder: Path) -> None:
    tested = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "test_drop.py")
    assert tested.returncode == 0, tested.stdout[-3000:]
    assert "passed" in tested.stdout
