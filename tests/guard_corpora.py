"""The statements and attacks of ``guard_corpus/``, and their rewritten texts.

``python tests/guard_corpora.py`` writes golden.json and the lists of refusals anew: look at every line that changes,
for each is a statement that will reach databases with another text than before, or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fluxport.errors import QueryRefused
from fluxport.policy.guard import GuardPolicy, check
from fluxport.policy.guard.words import Dialect

CORPUS = Path(__file__).with_name("guard_corpus")
GOLDEN = CORPUS / "golden.json"
DIALECTS: dict[str, Dialect] = {"sqlite": "sqlite", "duckdb": "duckdb"}
_KIND = re.compile(r"\[([^:\]]+): (.*\{\}.*)\]")
_STATEMENT = re.compile(r"^-- (.*)\n((?:(?!-- ).*(?:\n|\Z))+)", re.MULTILINE)


def statements(name: str) -> list[tuple[str, str]]:
    """Title and SQL of every statement of ``<name>.sql``; a line that begins with ``-- `` is a title."""
    return [(m[1], m[2].strip()) for m in _STATEMENT.finditer((CORPUS / f"{name}.sql").read_text("utf-8"))]


def attacks(name: str) -> list[tuple[str, str]]:
    """Code of refusal and SQL of every payload of ``attacks_<name>.txt``."""
    found, code = [], ""
    for line in (CORPUS / f"attacks_{name}.txt").read_text("utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            code = line[1:-1]
        elif line and not line.startswith("# "):
            found.append((code, _line(line)))
    return found


def reads(name: str) -> list[str]:
    """Every statement of ``reads_<name>.txt``, which would read a table that is not open."""
    lines = (CORPUS / f"reads_{name}.txt").read_text("utf-8").splitlines()
    return [_line(line) for line in lines if line and not line.startswith("# ")]


def _line(line: str) -> str:
    return str(json.loads(line.removeprefix("json:"))) if line.startswith("json:") else line


class Legitimate(NamedTuple):
    """A legitimate statement. ``runs``: on the tests' database; ``varies``: in its values."""

    sql: str
    runs: bool
    varies: bool


def legitimate(dialect: Dialect) -> Iterator[Legitimate]:
    """The statements of ``legit_<dialect>*.txt``: one a line, put in the place of {} of the kind above it.

    The expressions of a line, between commas, are statements of their own where the kind begins with "each"."""
    for path in sorted(CORPUS.glob(f"legit_{dialect}*.txt")):
        kind, template = "", ""
        for line in path.read_text("utf-8").splitlines():
            if header := _KIND.fullmatch(line):
                kind, template = header.groups()
            elif line:
                texts = _apart(line) if kind.startswith("each ") else [_line(line)]
                for text in texts:
                    yield Legitimate(template.replace("{}", text), "not run" not in kind, "vary" in kind)


def _apart(line: str) -> list[str]:
    """The expressions of a line, cut at the commas that stand in no brackets and no quotes."""
    parts, depth = [""], 0
    for piece in re.findall(r"'[^']*'|\"[^\"]*\"|`[^`]*`|.", line):
        depth += (piece in {"(", "[", "{"}) - (piece in {")", "]", "}"})
        if piece == "," and not depth:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts]


def refused_as_listed(dialect: Dialect) -> list[str]:
    """The legitimate statements that are refused, each with the code and the reason."""
    found = []
    for sql in dict.fromkeys(one.sql for one in legitimate(dialect)):
        try:
            check(sql, GuardPolicy(dialect, default_schema="shop"))
        except QueryRefused as error:
            found.append(f"{sql}  | {error.code}: {error.message}")
    return found


def accepted() -> Iterator[tuple[str, str, GuardPolicy]]:
    """Every statement that must be accepted: a unique title, its SQL, and its policy."""
    for name in ("tpch", "tpcds", "imdb", "sakila", "clickbench", "tricky", "mysql8", "sqlite", "duckdb"):
        policy = GuardPolicy(DIALECTS.get(name, "mysql"), default_schema="main" if name in DIALECTS else "shop")
        for title, sql in statements(name):
            yield f"{name}: {title}", sql.replace("SCHEMA_NAME", "shop"), policy


if __name__ == "__main__":
    texts = {title: check(sql, policy) for title, sql, policy in accepted()}
    for dialect in ("mysql", "sqlite", "duckdb", "postgresql"):
        title = "# Legitimate statements that are refused, each with the reason; written by guard_corpora.py."
        lines = "\n".join([title, *refused_as_listed(dialect)])
        (CORPUS / f"refused_{dialect}.txt").write_text(lines + "\n", "utf-8")
    GOLDEN.write_text(json.dumps(texts, ensure_ascii=False, indent=1) + "\n", "utf-8")
