"""What keeps the source easy to change: no module imports itself by way of others, and no function is long."""

from __future__ import annotations

import ast
import re
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
