"""Counts the server's warnings about a result as findings, by number.

The terminal packet has the number of warnings; they are fetched only if it is not 0. Their texts repeat values of rows,
so only the numbers are passed on; the words before the first value tell dates and times from other values.
"""

from __future__ import annotations

import re
from collections import Counter

from fluxport.findings import Findings
from fluxport.sources.mysql.handshake import DEPRECATE_EOF, Server
from fluxport.sources.mysql.servererrors import ServerError
from fluxport.sources.mysql.session import QUERY
from fluxport.sources.mysql.wire import Wire, read_lenenc

# Without a LIMIT, the form that proxies support; a server lists at most 65,535, its largest max_error_count.
SHOW, LISTED_MAX = b"SHOW WARNINGS", 65_535

# number -> code of findings
_CODES: dict[int, str] = {
    1260: "result_cut",  # GROUP_CONCAT beyond group_concat_max_len
    1301: "result_cut",  # REPEAT, LPAD and others beyond max_allowed_packet
    1931: "result_cut",  # LIMIT ROWS EXAMINED
    1365: "division_by_zero",
    1411: "date_not_converted",  # STR_TO_DATE
    1441: "date_not_converted",  # a date beyond the year 9999
    **dict.fromkeys(
        (
            1264, 1265, 1292, 1300, 1366, 1406, 1690, 1916, 1917, 1918, 1977,  # numbers, dates, characters
            3140, 3141, 3144, 3156, 4035, 4036, 4037, 4038, 4039, 4040,  # JSON, in MySQL and in MariaDB
        ),
        "value_not_converted",
    ),
}  # fmt: skip
# Numbers that concern dates and times as well as other values, told by the server's words: "Incorrect datetime value".
_SHARED = frozenset({1264, 1265, 1292, 1366})
_DATE = re.compile(rb"[^'`:]*\b(?:date|time|datetime|timestamp|seconds)\b", re.IGNORECASE)
# About the query's text or its execution, not the result: deprecated syntax, hints, unused indexes.
_HARMLESS = frozenset({
    1003, 1064, 1287, 1681, 1739, 3123, 3124, 3125, 3126, 3127, 3128, 3170, 3515, 3637, 3719, 3720, 3778,
})  # fmt: skip


def report(wire: Wire, server: Server, count: int, findings: Findings) -> None:
    """Fetch the ``count`` warnings of the statement that has just ended and count them in ``findings``.

    A note counts only if its number is known to be about values; a warning with an unknown number is assumed to be.
    Warnings that the server counts and does not list are counted without a number.
    """
    listed = _listed(wire, server)
    for (level, number, is_date), times in listed.items():
        code = _CODES.get(number, "" if level == "Note" or number in _HARMLESS else "database_warning")
        code = "date_not_converted" if is_date else code
        if code:
            findings.add(code, count=times, origin=f"warning {number}")
    findings.add("database_warning", count=max(0, count - listed.total()), origin="not listed")


def _listed(wire: Wire, server: Server) -> Counter[tuple[str, int, bool]]:
    """Level and number of the listed warnings, and whether a shared number is about a date or time; none where a proxy
    or an old server has no list."""
    counts: Counter[tuple[str, int, bool]] = Counter()
    wire.command(QUERY, SHOW)
    try:
        head = wire.packet()
        if head[:1] == b"\x00":
            return counts
        columns, _ = read_lenenc(head, 0)
        for _ in range(columns):
            wire.packet()
        if not server.capabilities & DEPRECATE_EOF:
            wire.packet()
        while (row := wire.packet())[:1] != b"\xfe":
            size, at = read_lenenc(row, 0)
            digits, after = read_lenenc(row, at + size)
            level, number = row[at : at + size].decode("ascii", "replace"), _number(row[after : after + digits])
            words = row[after + digits :]
            _, text = read_lenenc(words, 0)
            counts[level, number, number in _SHARED and _DATE.match(words, text) is not None] += 1
            if counts.total() > LISTED_MAX:
                raise wire.broken("lists warnings without end")
    except ServerError:
        pass
    return counts


def _number(digits: bytes) -> int:
    return int(digits) if digits.isdigit() else 0
