"""Which tests reach beyond this process, to a server or another program, by the names in their code."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

import services

TESTS = str(Path(__file__).parent)
BEYOND = (subprocess, services.unavailable)


def reaches_out(item: pytest.Function) -> bool:
    """Whether a test can start a program or require a server, by itself, a fixture or a parameter of it.

    Nothing is called: every function and class below ``tests/`` that its code names is looked through, and so on.
    What reaches out by other means (a connection to a fixed address) is overlooked; ``services.require_port`` is there
    for that.
    """
    params = item.callspec.params.values() if hasattr(item, "callspec") else ()
    known = _known[item.path]
    starts = (*_fixtures(item, item.fixturenames), item.cls, item.function, *params)
    return any(_reaches(start, item, known) for start in starts)


# By the file of a test, since its fixtures are those of its file: what was looked through, by id (which is its own only
# while it is there), and whether it leads beyond this process.
_known: defaultdict[Path, dict[int, tuple[Any, bool]]] = defaultdict(dict)


def _reaches(start: Any, item: pytest.Function, known: dict[int, tuple[Any, bool]]) -> bool:
    todo = [start]
    seen: dict[int, Any] = {}
    while todo:
        found = todo.pop()
        if any(found is it for it in BEYOND) or known.get(id(found), (found, False))[1]:
            known[id(start)] = (start, True)
            return True
        if id(found) not in seen and id(found) not in known:
            seen[id(found)] = found
            todo += _leads_to(found, item)
    known.update((number, (found, False)) for number, found in seen.items())
    return False


def _fixtures(item: pytest.Function, names: Iterable[str]) -> Iterator[Any]:
    manager = item.session._fixturemanager  # pytest shows the functions of fixtures nowhere else
    for name in names:
        yield from (definition.func for definition in manager.getfixturedefs(name, item) or ())


def _leads_to(found: Any, item: pytest.Function) -> Iterator[Any]:
    if isinstance(found, functools.partial):
        yield from (found.func, *found.args)
    elif isinstance(found, list | tuple | set):
        yield from found
    elif isinstance(found, dict):
        yield from found.values()
    elif hasattr(found, "__wrapped__"):
        yield inspect.unwrap(found)
    elif inspect.ismethod(found):
        yield from (found.__func__, found.__self__)
    elif isinstance(found, FunctionType) and found.__code__.co_filename.startswith(TESTS):
        yield from _named_by(found, item)
    elif isinstance(found, type) and _file_of(sys.modules.get(found.__module__)).startswith(TESTS):
        yield from (*vars(found).values(), *found.__bases__)
    elif not isinstance(found, type):
        yield type(found)


def _named_by(function: FunctionType, item: pytest.Function) -> Iterator[Any]:
    names, texts = set[str](), set[str]()
    for code in _codes(function.__code__):
        names.update(code.co_names)
        texts.update(constant for constant in code.co_consts if isinstance(constant, str))
    scope = function.__globals__ | {name: sys.modules[name] for name in names & sys.modules.keys()}
    for found in (scope[name] for name in names & scope.keys()):
        yield found
        if isinstance(found, ModuleType) and _file_of(found).startswith(TESTS):
            yield from (getattr(found, name) for name in names if hasattr(found, name))
    for cell in function.__closure__ or ():
        yield cell.cell_contents
    if "getfixturevalue" in names:
        yield from _fixtures(item, texts)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _file_of(module: ModuleType | None) -> str:
    return getattr(module, "__file__", None) or ""
