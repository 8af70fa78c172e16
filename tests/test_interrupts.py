"""An interrupt, at whatever line it arrives, leaves no temporary file and no temporary folder."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import fluxport
from fluxport.private import temporary_folder
from fluxport.sinks.local import LocalSink, hidden_folder
from fluxport.targets.parts import _moved

TRACED = (str(Path(fluxport.__file__).parent), contextlib.__file__)


def interrupted_at(number: int, act: Callable[[], object]) -> bool:
    """Whether ``act`` was interrupted, as a signal does it, before the ``number``-th line."""
    left = number

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(TRACED):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def lines_interrupted(act: Callable[[], object], folder: Path) -> int:
    number = 1
    while interrupted_at(number, act):
        assert list(folder.iterdir()) == [], number
        number += 1
    return number - 1


@pytest.mark.parametrize("make", [lambda folder: temporary_folder("fluxport-", folder), hidden_folder])
def test_a_temporary_folder_is_removed_after_an_interrupt_while_it_is_created(
    tmp_path: Path, make: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    def act() -> None:
        with make(tmp_path) as folder:
            sys.settrace(None)
            assert folder.is_dir()

    assert lines_interrupted(act, tmp_path) > 3


def test_a_file_is_removed_after_an_interrupt_until_it_is_complete(tmp_path: Path) -> None:
    def chunks() -> Any:
        yield b"some rows"
        sys.settrace(None)

    def act() -> None:
        LocalSink(tmp_path).put("rows.csv", chunks())
        (tmp_path / "rows.csv").unlink()

    assert lines_interrupted(act, tmp_path) > 20


def test_an_interrupt_while_part_files_replace_older_ones_leaves_all_old_ones_or_all_new_ones(tmp_path: Path) -> None:
    names, number, outcomes = ["a.csv", "b.csv", "c.csv"], 0, set()
    while True:
        number += 1
        folder = tmp_path / str(number)
        hidden = folder / "hidden"
        hidden.mkdir(parents=True)
        for name in names:
            (hidden / name).write_text("new")
        for name in names[:2]:
            (folder / name).write_text("old")

        def act(hidden: Path = hidden, folder: Path = folder) -> None:
            with _moved(names, hidden, folder):
                pass

        interrupted = interrupted_at(number, act)
        left = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
        assert left in (dict.fromkeys(names[:2], "old"), dict.fromkeys(names, "new")), number
        outcomes.add((interrupted, *sorted(left.values())))
        if not interrupted:
            break
    assert outcomes >= {(True, "old", "old"), (False, "new", "new", "new")}
