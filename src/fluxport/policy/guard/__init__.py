"""Which SQL of a caller may run: exactly one statement that only reads, or a refusal that says why.

``check`` reads the statement twice, with a strict lexer of our own and with sqlglot, whose cuts must agree; walks the
syntax tree with an allow-list; and writes the statement anew from the tokens: comments gone, names quoted, tables
qualified, strings spelled one way, every bare word from a closed list. What comes out is read again and must come out
unchanged. The same tokens in the same order keep their meaning whatever the parser makes of precedence or function
names; only headers would suffer, so a result column without a name of its own gets its original text as its name.

This is a second line of defence. The boundary is the database: an account that can only SELECT what may leave, and a
read-only transaction with a statement timeout, on a connection in the mode that the lexer assumes (lexer.py). Left to
the server are the length of text that CONCAT and GROUP_CONCAT make (``max_allowed_packet``, then the cell limit of the
export) and the number of rows that joins and recursive queries make (the timeout, then the row limit).
"""

from __future__ import annotations

import functools
from dataclasses import replace

from fluxport.errors import QueryRefused
from fluxport.policy.guard import vocabulary
from fluxport.policy.guard.lexer import lex, refuse
from fluxport.policy.guard.options import GuardPolicy
from fluxport.policy.guard.shapes import shapes

__all__ = ["GuardPolicy", "check"]

KNOWN_MAX = 256
KNOWN_CHARACTERS_MAX = 4096


def check(sql: str, policy: GuardPolicy) -> str:
    """The statement to run in place of ``sql``.

    QueryRefused, with a stable code and a sentence that quotes no literal, for whatever is not surely one harmless
    SELECT; no other exception leaves here.
    """
    return _known(sql, policy) if len(sql) <= KNOWN_CHARACTERS_MAX else _checked(sql, policy)


def _checked(sql: str, policy: GuardPolicy) -> str:
    try:
        if len(sql) > policy.bytes_max or len(sql.encode(errors="replace")) > policy.bytes_max:
            refuse("query_too_large", f"The statement is longer than {policy.bytes_max:,} bytes; shorten it.")
        statement = _rewrite(sql, policy)
        # What was quoted, qualified and named may be longer than the caller's text; the caps are for that text.
        if _rewrite(statement, replace(policy, tokens_max=4 * policy.tokens_max)) != statement:
            refuse("query_syntax", "The statement cannot be written in one sure way; simplify it.")
    except QueryRefused:
        raise
    except RecursionError as error:
        raise QueryRefused("The statement is nested too deeply; simplify it.", code="query_too_deep") from error
    except Exception as error:
        raise QueryRefused("The statement could not be understood; simplify it.", code="query_syntax") from error
    return statement


# The same statement under the same policy is the same again: a stored export is checked when it is asked for and when
# it is carried out, and many ask for the same.
_known = functools.lru_cache(KNOWN_MAX)(_checked)


def _rewrite(sql: str, policy: GuardPolicy) -> str:
    tokens = lex(sql, policy.dialect, params=policy.params)
    vocabulary.check_before_parsing(tokens, policy)
    # sqlglot takes a tenth of a second to import: only a statement that got this far waits for it.
    from fluxport.policy.guard.render import render
    from fluxport.policy.guard.tree import read

    found = shapes(tokens, policy.dialect)
    reading = read(sql, tokens, found, policy)
    vocabulary.check_words(tokens, found.hidden | found.shown.keys(), reading.names, reading.column_lists, policy)
    return render(sql, tokens, reading, policy)
