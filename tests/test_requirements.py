"""The lock: every requirement of pyproject.toml is pinned in an allowed version, with digests and without the address
of an index."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("demo.txt", "dev.txt", "image.txt")


def text(lock: str) -> str:
    return (ROOT / "requirements" / lock).read_text()


def pins(lock: str) -> dict[str, set[str]]:
    """The versions of each package; of some there is one for each range of Pythons."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^ ;]+)", text(lock), re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def group(name: str) -> Iterator[str]:
    for entry in PROJECT["dependency-groups"][name]:
        if isinstance(entry, dict):
            yield from group(entry["include-group"])
        else:
            yield entry


def requested(lock: str) -> list[str]:
    extras = PROJECT["project"]["optional-dependencies"]
    if lock == "image.txt":
        return [*PROJECT["project"]["dependencies"], *itertools.chain.from_iterable(extras.values()), *group("build")]
    if lock == "demo.txt":
        return [*PROJECT["project"]["dependencies"], *extras["demo"], *group("build")]
    return [*PROJECT["project"]["dependencies"], *itertools.chain.from_iterable(extras.values()), *group("dev")]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_in_an_allowed_version(lock: str) -> None:
    pinned = pins(lock)
    for requirement in map(Requirement, requested(lock)):
        versions = pinned.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement} is not locked: run make lock"
        assert all(map(requirement.specifier.contains, versions)), f"{requirement} is locked as {versions}: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_file_is_pinned_by_its_digest_and_no_address(lock: str) -> None:
    for block in re.split(r"\n(?=[\w.-]+(?:\[|==))", text(lock))[1:]:
        assert "--hash=sha256:" in block, block
    assert not re.search(r"://|--index|--extra-index|--find-links", text(lock))


@pytest.mark.parametrize("lock", ["demo.txt", "image.txt"])
def test_the_demo_and_the_image_run_on_what_is_tested(lock: str) -> None:
    tested = pins("dev.txt")
    assert {name: versions for name, versions in pins(lock).items() if versions != tested.get(name)} == {}


def test_what_builds_the_package_is_locked_too() -> None:
    build = {Requirement(entry).name for entry in group("build")}
    assert {Requirement(entry).name for entry in PROJECT["build-system"]["requires"]} <= build
