"""The guard decides which SQL of a caller may run: exactly one statement that only reads, or a refusal with its reason.

::

    sql --lexer.py--> tokens --vocabulary.py--> caps, refused phrases, amplifiers
                        |-----shapes.py-------> constructs that sqlglot lacks: hidden, or shown as something plain
                        |-----outline.py------> neutral tokens --sqlglot--> tree --tree.py--> allow-list, names, tables
                        '-----render.py-------> the statement to run: same tokens, same order
                                                `- guarded once more, and must not change

``check`` tokenizes the statement twice, with our own strict lexer and with sqlglot's, whose boundaries must agree;
walks the syntax tree with an allow-list; and rewrites the statement from our tokens: without comments, names quoted,
tables qualified, strings in one notation, every bare word from a closed list. The same tokens in the same order keep
their meaning whatever the parser makes of precedence or function names; only headers could change, so a result column
without a name gets its original text as its name.

This is a second line of defence. The boundary is the database: an account that can only SELECT exportable data, and a
read-only transaction with a statement timeout, on a connection in the mode that the lexer assumes (lexer.py). The
server bounds the text that CONCAT and GROUP_CONCAT build (``max_allowed_packet``, then the export's cell limit) and the
rows that joins and recursive queries produce (the timeout, then the row limit).
"""

from __future__ import annotations

import functools
from dataclasses import replace

from fluxport.errors import FluxportError, QueryRefused
from fluxport.policy.guard import vocabulary
from fluxport.policy.guard.lexer import lex, refuse
from fluxport.policy.guard.options import GuardPolicy
from fluxport.policy.guard.shapes import shapes

__all__ = ["GuardPolicy", "check"]

CACHE_STATEMENTS_MAX = 256
CACHE_CHARACTERS_MAX = 4096


def check(sql: str, policy: GuardPolicy) -> str:
    """Returns the statement to run in place of ``sql``.

    QueryRefused, with a stable code and a message that quotes no literal, for anything not provably one harmless
    SELECT; raises no other exception.
    """
    return _cached(sql, policy) if len(sql) <= CACHE_CHARACTERS_MAX else _checked(sql, policy)


def _checked(sql: str, policy: GuardPolicy) -> str:
    try:
        if len(sql) > policy.bytes_max or len(sql.encode(errors="replace")) > policy.bytes_max:
            refuse("query_too_large", f"The statement is longer than {policy.bytes_max:,} bytes; shorten it.")
        statement = _rewrite(sql, policy)
        # The rewritten text may be longer than the caller's (quotes, schemas, names); the caps are for the caller's.
        if _rewrite(statement, replace(policy, tokens_max=4 * policy.tokens_max)) != statement:
            refuse("query_syntax", "The statement cannot be rewritten unambiguously; simplify it.")
    except FluxportError:
        raise
    except Exception as error:  # what the parser cannot handle is refused, even if by a bug
        raise QueryRefused("The statement could not be parsed; simplify it.", code="query_syntax") from error
    return statement


# The check is deterministic: a stored export is checked at its request and again when it runs, and many requests have
# the same statement.
_cached = functools.lru_cache(CACHE_STATEMENTS_MAX)(_checked)


def _rewrite(sql: str, policy: GuardPolicy) -> str:
    if policy.dialect == "postgresql":
        from fluxport.policy.guard.postgres import rewrite

        return rewrite(sql, policy)
    tokens = lex(sql, policy.dialect, params=policy.params)
    vocabulary.check_before_parsing(tokens, policy)
    # Importing sqlglot takes a tenth of a second: only statements that got this far pay for it.
    from fluxport.policy.guard.render import render
    from fluxport.policy.guard.tree import read

    constructs = shapes(tokens, policy.dialect)
    reading = read(sql, tokens, constructs, policy)
    vocabulary.check_words(
        tokens, constructs.hidden | constructs.shown.keys(), reading.names, reading.column_lists, policy
    )
    return render(sql, tokens, reading, policy)
