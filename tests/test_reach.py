"""What ``make test-fast`` omits is derived from the code of a test, however indirectly it starts a program."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest


def starts() -> int:
    return subprocess.run([sys.executable, "-c", ""], check=True).returncode


def starts_twice() -> int:
    return max(starts() for _ in range(2))


def counts() -> int:
    return 0


@dataclass
class Starter:
    times: int

    def begin(self) -> int:
        return sum(starts() for _ in range(self.times))


@pytest.fixture
def started() -> int:
    return starts()


def marked(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("service") is not None


def test_a_test_of_this_process_alone_is_not_marked(request: pytest.FixtureRequest) -> None:
    assert counts() == 0
    assert not marked(request)


def test_a_program_started_by_a_function_in_a_function_marks(request: pytest.FixtureRequest) -> None:
    assert starts_twice() == 0
    assert marked(request)


@pytest.mark.parametrize("begin", [starts, functools.partial(starts), Starter(1).begin])
def test_a_program_started_by_a_parameter_marks(request: pytest.FixtureRequest, begin: Callable[[], int]) -> None:
    assert begin() == 0
    assert marked(request)


@pytest.mark.parametrize("begin", [counts, functools.partial(counts)])
def test_a_parameter_that_starts_nothing_does_not(request: pytest.FixtureRequest, begin: Callable[[], int]) -> None:
    assert begin() == 0
    assert not marked(request)


def test_a_program_started_by_a_fixture_marks(request: pytest.FixtureRequest, started: int) -> None:
    assert started == 0
    assert marked(request)


def test_a_program_started_by_a_fixture_requested_by_name_marks_the_test(request: pytest.FixtureRequest) -> None:
    assert request.getfixturevalue("started") == 0
    assert marked(request)
