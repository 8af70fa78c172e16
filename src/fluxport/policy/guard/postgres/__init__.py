"""The guard for PostgreSQL, by the server's own scanner and parser (libpg_query, in the package pglast).

::

    sql --scan.py--> tokens --vocabulary.py--> caps --parse_sql--> tree --nodes.py, walk.py, growth.py--> allowed
                        '---scan.py--> the statement to run: same tokens, tables qualified --parse_sql--> same tree
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fluxport.errors import Refused
from fluxport.policy.guard.lexer import check_characters, refuse
from fluxport.policy.guard.options import GuardPolicy
from fluxport.policy.guard.vocabulary import check_depth, check_first_word, check_size, unreadable

if TYPE_CHECKING:
    from pglast import ast


def rewrite(sql: str, policy: GuardPolicy) -> str:
    """The statement to run in place of ``sql``, with the same tree; QueryRefused if it is not allowed, Refused without
    the parser."""
    try:
        import pglast.parser  # noqa: F401  only to find out whether it is there
    except ImportError:
        raise Refused(
            "Checking SQL for PostgreSQL needs its parser: pip install 'fluxport[postgres]'.", code="missing_extra"
        ) from None
    from fluxport.policy.guard.postgres.nodes import shape
    from fluxport.policy.guard.postgres.scan import check_placeholders, rendered, scanned
    from fluxport.policy.guard.postgres.walk import Walk

    check_characters(sql)
    statement = scanned(sql, policy)
    tokens = [piece.token for piece in statement.pieces]
    check_size(tokens, policy)
    check_first_word(tokens, policy.dialect)
    check_depth(tokens, policy)
    root = _parsed(statement.text, lambda: check_placeholders(sql, policy))
    walk = Walk(policy)
    walk.read(root)
    schemas = dict.fromkeys(walk.unqualified, policy.default_schema) if policy.default_schema else {}
    text = rendered(statement, schemas)
    again = scanned(text, policy)
    if shape(_parsed(again.text, unreadable), {}) != shape(root, schemas):
        refuse("query_syntax", "The statement cannot be rewritten unambiguously; simplify it.")
    return text


def _parsed(text: str, failed: Callable[[], object]) -> ast.SelectStmt:
    """The only statement in ``text``; ``failed`` is called first if there is none, and may refuse it."""
    from pglast import ast, parse_sql
    from pglast.parser import ParseError

    try:
        trees, position = parse_sql(text), None
    except ParseError as error:
        trees, position = (), error.args[1] if len(error.args) > 1 else None
    if not trees:  # outside of the handler, so that the error, which holds a part of the statement, is not chained
        failed()
        unreadable(_where(text, position))
    (tree,) = trees
    if not isinstance(tree.stmt, ast.SelectStmt):
        refuse("query_not_select", "Only a SELECT can be exported; begin with SELECT or WITH.")
    return tree.stmt


def _where(text: str, position: int | None) -> str:
    if position is None:
        return ""
    before = text[:position]
    return f" (line {before.count(chr(10)) + 1}, column {position - before.rfind(chr(10))})"
