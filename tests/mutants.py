"""``make mutants``: small changes of the code, and which of them no test notices.

The tests are collected once. A fork of that process runs them and records which lines of the modules each one reaches.
Then each change gets a fork of its own, where the changed function replaces the original and the tests that reach its
lines run, the fastest first, until one fails::

    collect --fork--> run all, traced: lines and CPU time of each test
       |-----fork--> change 1: its tests until one fails
       '-----fork--> change 2: ...

No file is written. Only the bodies of functions change; a table or a constant is compared with a copy in a test.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import importlib
import os
import pickle
import resource
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeAlias

import pytest
from _pytest.runner import runtestprotocol

MODULES = (
    "fluxport.stages",
    "fluxport.pipeline",
    "fluxport.jobs.states",
    "fluxport.auth",
    "fluxport.policy",
    "fluxport.formats",
)
PYTEST = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "default"]
IDLE_S = 30.0  # a fork that uses no processor for so long hangs
TICKS = os.sysconf("SC_CLK_TCK")

_OPPOSITE: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}


@dataclass(frozen=True)
class Change:
    """``new`` in place of a node, inside the outermost function ``function`` of a module."""

    function: ast.FunctionDef
    parent: ast.AST
    field: str
    index: int | None  # in the list that the field holds, if it does
    new: ast.AST

    @property
    def old(self) -> ast.AST:
        held = getattr(self.parent, self.field)
        found: ast.AST = held if self.index is None else held[self.index]
        return found

    @property
    def lines(self) -> range:
        """The lines of the statement that changes; of a compound one, its first."""
        placed = self.old if hasattr(self.old, "lineno") else self.parent
        first: int = getattr(placed, "lineno", self.function.lineno)
        body = getattr(placed, "body", None)
        return range(first, first + 1 if isinstance(body, list) else getattr(placed, "end_lineno", first) + 1)

    def __str__(self) -> str:
        old, new = (_short(node) for node in (self.old, self.new))
        return f"{self.function.name}: {old}  ->  {new}"

    @contextmanager
    def applied(self) -> Iterator[None]:
        old = self.old
        self._put(ast.fix_missing_locations(ast.copy_location(self.new, old)))
        yield
        self._put(old)

    def _put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def _short(node: ast.AST) -> str:
    line = ast.unparse(node).strip().splitlines()[0]
    return line if len(line) <= 100 else line[:97] + "..."


def changes(tree: ast.Module) -> Iterator[Change]:
    """The changes of every function, outside of annotations and sentences."""
    for node in tree.body:
        functions = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in functions:
            if isinstance(function, ast.FunctionDef):
                yield from _changes(function, function)


def _changes(function: ast.FunctionDef, parent: ast.AST) -> Iterator[Change]:
    for field, value in ast.iter_fields(parent):
        if field in {"args", "returns", "annotation", "decorator_list"} and not isinstance(parent, ast.Call):
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(node, ast.AST):
                yield from (Change(function, parent, field, index, new) for new in _others(node, parent))
                if not isinstance(node, ast.JoinedStr):
                    yield from _changes(function, node)


def _others(node: Any, parent: ast.AST) -> Iterator[ast.AST]:
    """What may stand in place of ``node``."""
    match node:
        case ast.Compare():
            for place, op in enumerate(node.ops):
                ops = [*node.ops[:place], _OPPOSITE[type(op)](), *node.ops[place + 1 :]]
                yield ast.Compare(node.left, ops, node.comparators)
        case ast.BoolOp() | ast.BinOp() | ast.AugAssign():
            if type(node.op) in _OPPOSITE:
                yield _with(node, op=_OPPOSITE[type(node.op)]())
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str(text)) if not isinstance(parent, ast.Expr) and " " not in text[1:-1]:  # no sentence
            yield ast.Constant(text + "X")
        case ast.Constant(value=bytes(data)):
            yield ast.Constant(data + b"X")
        case ast.comprehension() if node.ifs:
            yield _with(node, ifs=[])
        case ast.Break() | ast.Continue():
            yield ast.Continue() if isinstance(node, ast.Break) else ast.Break()
        case ast.Return() if node.value is not None and not isinstance(node.value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, ast.Compare | ast.UnaryOp):
            yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.AugAssign | ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


# -- running -----------------------------------------------------------------------------------------------------------


@dataclass
class Reach:
    """Which tests, by number, reach a line, and the CPU time of each in seconds."""

    tests: dict[tuple[str, int], set[int]]
    seconds: dict[int, float]

    def of(self, path: str, lines: range) -> list[int]:
        """The tests that reach any of the lines, the fastest first."""
        found = set().union(*(self.tests.get((path, line), set()) for line in lines))
        return sorted(found, key=lambda test: self.seconds[test])


def _failed(items: Sequence[pytest.Item]) -> Iterator[bool]:
    for item, following in zip(items, [*items[1:], None], strict=True):
        yield any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def _reach(items: Sequence[pytest.Item], paths: set[str]) -> Reach:
    """Run all tests in a fork, traced."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        reach, lines = Reach(defaultdict(set), {}), set[tuple[str, int]]()

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            lines.add((frame.f_code.co_filename, frame.f_lineno))
            return line

        def call(frame: FrameType, event: str, argument: Any) -> Any:
            return line(frame, event, argument) if frame.f_code.co_filename in paths else None

        threading.settrace(call)
        outcomes = _failed(items)
        for number in range(len(items)):
            lines.clear()
            began = time.process_time()
            sys.settrace(call)
            failed = next(outcomes)
            reach.seconds[number] = time.process_time() - began
            for reached in () if failed else lines:
                reach.tests[reached].add(number)
        sys.settrace(None)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(Reach(dict(reach.tests), reach.seconds), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        result: Reach = pickle.load(file)
    os.wait()
    return result


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


Functions: TypeAlias = dict[tuple[str, int], list[FunctionType]]  # by qualified name and first line


def _functions(path: str) -> Functions:
    """The functions of an imported module, also those behind decorators."""
    found: Functions = defaultdict(list)
    for it in gc.get_objects():
        if isinstance(it, FunctionType) and it.__code__.co_filename == path:
            found[it.__code__.co_qualname, it.__code__.co_firstlineno].append(it)
    return found


class Mutants:
    """The plugin of pytest that runs the changes instead of the tests, ``at_once`` of them at a time."""

    def __init__(self, paths: Sequence[str], at_once: int) -> None:
        self._paths = paths
        self._at_once = at_once
        self._running: dict[int, tuple[str, str, int, float]] = {}  # by process: path, change, CPU ticks, since when
        self._counts: dict[str, Counter[str]] = {path: Counter() for path in paths}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:
            return None
        reach = _reach(session.items, set(self._paths))
        print(f"\n{len(session.items)} tests, {sum(reach.seconds.values()):.0f} s of CPU time when traced", flush=True)
        functions = {path: _functions(path) for path in self._paths}
        gc.collect()
        gc.freeze()  # a fork shares what was imported; gc.get_objects() no longer yields it
        for path in self._paths:
            self._module(path, functions[path], session.items, reach)
        while self._running:
            self._wait()
        for path, counts in self._counts.items():
            print(f"{_named(path)}: {', '.join(f'{count} {outcome}' for outcome, count in sorted(counts.items()))}")
        return True

    def _module(self, path: str, functions: Functions, items: Sequence[pytest.Item], reach: Reach) -> None:
        tree = ast.parse(Path(path).read_text("utf-8"))
        for change in changes(tree):
            text, tests = f"{_named(path)}:{change.lines[0]} {change}", reach.of(path, change.lines)
            with change.applied():
                codes = {(code.co_qualname, code.co_firstlineno): code for code in _codes(compile(tree, path, "exec"))}
            pairs = [
                (it, codes[key])
                for key, found in functions.items()
                for it in found
                if key in codes and it.__code__.co_firstlineno == _first_line(change.function)
            ]
            if not tests or not pairs:
                self._count(path, text, "not reached")
                continue
            while len(self._running) >= self._at_once:
                self._wait()
            self._start(path, text, pairs, [items[test] for test in tests], sum(reach.seconds[test] for test in tests))

    def _start(
        self,
        path: str,
        text: str,
        pairs: Sequence[tuple[FunctionType, CodeType]],
        items: Sequence[pytest.Item],
        cpu_s: float,
    ) -> None:
        process = os.fork()
        if process:
            self._running[process] = (path, text, -1, time.monotonic())
            return
        nowhere = os.open(os.devnull, os.O_RDWR)
        for output in (1, 2):
            os.dup2(nowhere, output)
        most = int(time.process_time() + 3 * cpu_s + 5)
        resource.setrlimit(resource.RLIMIT_CPU, (most, most))
        for function, code in pairs:
            function.__code__ = code
        try:
            os._exit(any(_failed(items)))
        except BaseException:  # noqa: BLE001  noticed, whatever it is
            os._exit(1)

    def _wait(self) -> None:
        """Count the forks that have ended, and end those that hang."""
        for process, (path, text, ticks, since) in list(self._running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                del self._running[process]
                self._count(path, text, "noticed" if status else "survived")
            elif (used := _ticks(process)) != ticks:
                self._running[process] = (path, text, used, time.monotonic())
            elif time.monotonic() - since > IDLE_S:
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)

    def _count(self, path: str, text: str, outcome: str) -> None:
        self._counts[path][outcome] += 1
        if outcome != "noticed":
            print(f"{outcome}: {text}", flush=True)


def _first_line(function: ast.FunctionDef) -> int:
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


def _ticks(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def _named(path: str) -> str:
    return os.path.relpath(path)


def _files(module: str) -> list[str]:
    """The files of a module, or of all modules of a package; each is imported."""
    found = importlib.import_module(module)
    assert found.__file__ is not None
    files = sorted(Path(found.__file__).parent.rglob("*.py")) if hasattr(found, "__path__") else [Path(found.__file__)]
    if hasattr(found, "__path__"):
        for file in files:
            inside = file.relative_to(Path(found.__file__).parent).with_suffix("").parts
            importlib.import_module(".".join((module, *(part for part in inside if part != "__init__"))))
    return [str(file) for file in files]


def main() -> int:
    parser = argparse.ArgumentParser(description="Which changes of the code does no test notice?")
    parser.add_argument("--tests", nargs="*", default=[], help="files of tests (default: those of make test-fast)")
    parser.add_argument("-m", default="not service and not slow", help="which tests, by their marks")
    parser.add_argument("-k", default="", help="which tests, by their names")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="changes that are tried at a time")
    parser.add_argument("modules", nargs="*", help=f"modules or packages (default: {' '.join(MODULES)})")
    given = parser.parse_args()
    paths = [path for module in given.modules or MODULES for path in _files(module)]
    return int(
        pytest.main([*PYTEST, "-m", given.m, "-k", given.k, *given.tests], plugins=[Mutants(paths, given.at_once)])
    )


if __name__ == "__main__":
    sys.exit(main())
