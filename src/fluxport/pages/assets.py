"""The front end as built by Vite: files with content hashes in their names, and the manifest of each page's files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fluxport.errors import Broken

STATIC = Path(__file__).with_name("static")


@dataclass(frozen=True)
class Assets:
    """The files that a page loads, as paths below ``/static/``."""

    scripts: tuple[str, ...]
    styles: tuple[str, ...]


@cache
def assets(page: str) -> Assets:
    """The files of ``page``, the name of an entry in ``web/src``; Broken if the front end was not built."""
    try:
        manifest = json.loads((STATIC / ".vite" / "manifest.json").read_text())
    except FileNotFoundError:
        raise Broken("The pages are not built; reinstall Fluxport.", code="pages_not_built") from None
    entry = f"src/{page}.tsx"
    styles: dict[str, None] = {}
    seen: set[str] = set()

    def walk(name: str) -> None:
        if name not in seen:
            seen.add(name)
            for needed in manifest[name].get("imports", []):
                walk(needed)
            styles.update(dict.fromkeys(manifest[name].get("css", [])))

    walk(entry)
    return Assets((manifest[entry]["file"],), tuple(styles))
