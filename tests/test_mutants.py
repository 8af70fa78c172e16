"""``make mutants`` reports the changes that no test notices, and no others."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from mutants import changes

CODE = '''
import functools

LIMIT = 10

@functools.cache
def within(number: int) -> bool:
    """A docstring, which does not change."""
    if number < 0:
        raise ValueError("A sentence, which does not change.")
    return number <= LIMIT

class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self, numbers: list[int]) -> None:
        for number in numbers:
            if not within(number):
                break
            self.count += number
'''
TESTS = """
import bounded
import pytest

def test_within():
    assert bounded.within(10)
    assert not bounded.within(12)
    with pytest.raises(ValueError):
        bounded.within(-5)

def test_counter():
    counter = bounded.Counter()
    counter.add([3, 4, 11, 5])
    assert counter.count == 7
"""


def test_each_place_changes_by_itself() -> None:
    tree = ast.parse(CODE)
    before = ast.dump(tree)
    made = []
    for change in changes(tree):
        text = str(change)
        with change.applied():
            made.append((text, ast.unparse(tree)))
    assert ast.dump(tree) == before
    assert [text for text, _ in made] == [
        "within: number < 0  ->  number <= 0",
        "within: 0  ->  1",
        "within: raise ValueError('A sentence, which does not change.')  ->  pass",
        "within: return number <= LIMIT  ->  return None",
        "within: number <= LIMIT  ->  number < LIMIT",
        "__init__: 0  ->  1",
        "add: not within(number)  ->  within(number)",
        "add: break  ->  continue",
        "add: self.count += number  ->  self.count -= number",
        "add: self.count += number  ->  pass",
    ]
    assert len({code for _, code in made}) == len(made)


def test_a_change_that_no_test_notices_is_reported(tmp_path: Path) -> None:
    (tmp_path / "bounded.py").write_text(CODE)
    (tmp_path / "test_bounded.py").write_text(TESTS)
    program = str(Path(__file__).parent / "mutants.py")
    done = subprocess.run(
        [sys.executable, program, "bounded", "--tests", "test_bounded.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("survived", "not reached", "bounded"))]
    assert sorted(lines) == [
        "bounded.py: 8 noticed, 2 survived",
        "survived: bounded.py:9 within: 0  ->  1",
        "survived: bounded.py:9 within: number < 0  ->  number <= 0",
    ], done.stdout + done.stderr
