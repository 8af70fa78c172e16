"""Rules that keep the code easy to change: no import cycles, no long functions, each default of a setting stated
once, reasons for suppressed warnings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
LINES_MAX = 70


def test_no_modules_import_each_other() -> None:
    """Imports inside functions and for types alone count as well; CycleError shows the cycle."""
    graph = grimp.build_graph("fluxport", "fluxport_emulator", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()


def test_no_files_of_the_pages_import_each_other() -> None:
    root = ROOT / "web" / "src"
    files = {path.with_suffix(""): path for path in root.rglob("*.ts*")}
    imports = {
        name: {(path.parent / target).resolve() for target in re.findall(r'from "(\.[^"]+)"', path.read_text())}
        for name, path in files.items()
    }
    assert any(imports.values())
    TopologicalSorter(imports).prepare()


def test_only_the_queue_reads_and_writes_its_tables() -> None:
    """As its docstring says: other modules call its functions."""
    own = {"queue", "notifications", "executors"}
    users = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "fluxport.tables"
        if own & {name.name for name in node.names}
    }
    assert users == {"fluxport/jobs/queue.py"}


def test_no_function_is_long() -> None:
    generated = ("_pb2.py", "_pb2_grpc.py")
    long = [
        f"{path.relative_to(SOURCE)}: {node.name}"
        for path in SOURCE.rglob("*.py")
        if not path.name.endswith(generated)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= LINES_MAX
    ]
    assert not long


ROOTS = ("wiring.py", "process.py", "addresses.py")
NEUTRAL = {"None", "False", "()", "frozenset()", "''", "0", "math.inf", "sys.maxsize"}  # off, or no limit


def test_what_a_setting_sets_has_its_default_in_the_configuration_alone() -> None:
    """A field of an options class, or the configuration names it: ``Field(Limits.cell_bytes_max, ...)``."""
    classes = {
        node.name: [each for each in node.body if isinstance(each, ast.AnnAssign)]
        for path in (SOURCE / "fluxport").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and re.search("(Options|Limits|Sensors|Proxies|Callers)$", node.name)
    }
    settings = (SOURCE / "fluxport" / "config.py").read_text()
    twice = [
        f"{name}.{ast.unparse(field.target)}"
        for name, field in _set(classes)
        if field.value is not None
        and ast.unparse(field.value) not in NEUTRAL
        and not ast.unparse(field.value).startswith(("field(", "setting("))
        and f"{name}.{ast.unparse(field.target)}" not in settings
    ]
    assert not twice


def _set(classes: dict[str, list[ast.AnnAssign]]) -> Iterator[tuple[str, ast.AnnAssign]]:
    """The fields that the composition root sets, with their classes."""
    for root in ROOTS:
        for node in ast.walk(ast.parse((SOURCE / "fluxport" / root).read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes:
                fields, named = classes[node.func.id], {each.arg for each in node.keywords}
                positional = zip(fields, node.args, strict=False)
                yield from ((node.func.id, field) for field, _ in positional)
                yield from ((node.func.id, field) for field in fields if ast.unparse(field.target) in named)


# The codes, then two words or more, as in "(noqa: CODE  reason why)".
SUPPRESSION = re.compile(r"# (?:noqa|type: ignore)\b.*")
WITH_REASON = re.compile(r"# (?:noqa: [A-Z0-9, ]+|type: ignore\[[a-z-]+\])(?:  | - )(?:# )?\w\S* ?\S")


def test_every_suppressed_warning_has_a_reason() -> None:
    """On its line; what whole files may do is in pyproject.toml."""
    assert not [
        f"{path.relative_to(ROOT)}:{number}: {found[0]}"
        for path in python_files("src", "tests", "bench", "examples", "docs", "openapi")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (found := SUPPRESSION.search(line)) and not WITH_REASON.match(found[0])
    ]


def test_every_rule_that_whole_files_may_break_has_a_reason() -> None:
    rules = re.findall(r'^"[^"]+" = \["[A-Z]+[0-9]*".*', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert rules
    assert not [rule for rule in rules if not re.search(r"\]  # \w+,? \w", rule)]


def test_every_broad_except_raises_again_or_has_a_reason() -> None:
    """The reason is a comment beside the ``except`` or in the first line below it."""
    without = []
    for path in python_files("src"):
        lines = path.read_text().splitlines()
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler) and is_broad(node.type):
                last = node.body[-1]
                raises_again = isinstance(last, ast.Raise) and last.exc is None
                if not raises_again and "  # " not in "\n".join(lines[node.lineno - 1 : node.lineno + 1]):
                    without.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not without


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def is_broad(caught: ast.expr | None) -> bool:
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(kind is None or ast.unparse(kind) in ("Exception", "BaseException") for kind in kinds)


def python_files(*folders: str) -> list[Path]:
    return [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts and not path.name.endswith(("_pb2.py", "_pb2_grpc.py"))
    ]
