"""Unique column names for formats that require them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from fluxport.findings import Findings


def unique_names(names: Sequence[str], findings: Findings) -> list[str]:
    """``names``, repeated ones as ``a_1``, ``a_2`` and empty ones as ``column_<position>``; each change is reported.

    A name that occurs once is never changed: numbering skips names of other columns.
    """
    taken = set(names)
    seen: set[str] = set()
    numbered: dict[str, Iterator[str]] = {}

    def unique(position: int, name: str) -> str:
        if name and name not in seen:
            seen.add(name)
            return name
        stem = name or f"column_{position}"
        candidates = numbered.setdefault(stem, _numbered(stem, bare=not name))
        unused = next(c for c in candidates if c not in taken)
        taken.add(unused)
        findings.add("column_renamed", unused)
        return unused

    return [unique(position, name) for position, name in enumerate(names, 1)]


def _numbered(stem: str, *, bare: bool) -> Iterator[str]:
    if bare:
        yield stem
    for number in count(1):
        yield f"{stem}_{number}"
