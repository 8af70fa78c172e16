"""The statements and attacks of ``guard_corpus/``, and the texts that the guard makes of them.

``python tests/guard_corpora.py`` writes golden.json anew: look at every line that changes, for each is a statement that
will reach databases in other words than before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from fluxport.policy.guard import GuardPolicy, check
from fluxport.policy.guard.lexer import Dialect

CORPUS = Path(__file__).with_name("guard_corpus")
GOLDEN = CORPUS / "golden.json"
DIALECTS: dict[str, Dialect] = {"sqlite": "sqlite", "duckdb": "duckdb"}
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
            found.append((code, json.loads(line.removeprefix("json:")) if line.startswith("json:") else line))
    return found


def reads(name: str) -> list[str]:
    """Every statement of ``reads_<name>.txt``, which would read a table that is not open."""
    lines = (CORPUS / f"reads_{name}.txt").read_text("utf-8").splitlines()
    payloads = [line for line in lines if line and not line.startswith("# ")]
    return [json.loads(line.removeprefix("json:")) if line.startswith("json:") else line for line in payloads]


def accepted() -> Iterator[tuple[str, str, GuardPolicy]]:
    """Every statement that must pass: a unique title, its SQL, and the policy it passes under."""
    for name in ("tpch", "tpcds", "imdb", "sakila", "clickbench", "tricky", "mysql8", "sqlite", "duckdb"):
        policy = GuardPolicy(DIALECTS.get(name, "mysql"), default_schema="main" if name in DIALECTS else "shop")
        for title, sql in statements(name):
            yield f"{name}: {title}", sql.replace("SCHEMA_NAME", "shop"), policy


if __name__ == "__main__":
    texts = {title: check(sql, policy) for title, sql, policy in accepted()}
    GOLDEN.write_text(json.dumps(texts, ensure_ascii=False, indent=1) + "\n", "utf-8")
