"""What keeps the source easy to change: no module imports itself by way of others, no function is long, and no default
of a setting is stated twice."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

SOURCE = Path(__file__).parent.parent / "src"
LINES_MAX = 70


def test_no_modules_import_each_other() -> None:
    """Imports inside functions and for types alone count as well; CycleError shows the knot."""
    graph = grimp.build_graph("fluxport", "fluxport_emulator", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()


def test_no_files_of_the_pages_import_each_other() -> None:
    root = SOURCE.parent / "web" / "src"
    files = {path.with_suffix(""): path for path in root.rglob("*.ts*")}
    imports = {
        name: {(path.parent / target).resolve() for target in re.findall(r'from "(\.[^"]+)"', path.read_text())}
        for name, path in files.items()
    }
    assert any(imports.values())
    TopologicalSorter(imports).prepare()


def test_no_function_is_long() -> None:
    made = ("_pb2.py", "_pb2_grpc.py")  # by the generator of protobuf
    long = [
        f"{path.relative_to(SOURCE)}: {node.name}"
        for path in SOURCE.rglob("*.py")
        if not path.name.endswith(made)
        for node in ast.walk(ast.parse(path.read_text()))
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
        if isinstance(node, ast.ClassDef)
        and re.search("((?<!Exports)Options|Limits|Sensors|Proxies|Callers)$", node.name)
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
