"""Number formats of Excel: translated from strftime patterns, and checked where the caller gives one."""

from __future__ import annotations

import re
from itertools import pairwise

from fluxport.errors import Refused

GENERAL = "General"
WHOLE = "0"
_DECIMALS_MAX = 30
DATE = r"yyyy\-mm\-dd"
DATETIME = r"yyyy\-mm\-dd\ hh:mm:ss"
DURATION = "[h]:mm:ss"
MILLISECONDS = ".000"
FORMAT_CHARS_MAX = 255

_CODES = {
    "Y": "yyyy", "y": "yy", "m": "mm", "-m": "m", "b": "mmm", "B": "mmmm", "d": "dd", "-d": "d", "e": "d", "a": "ddd",
    "A": "dddd", "H": "hh", "-H": "h", "I": "hh", "-I": "h", "M": "mm", "-M": "m", "S": "ss", "-S": "s", "f": "000",
    "p": "AM/PM",
}  # fmt: skip
_EXPANSIONS = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M", "%D": "%m/%d/%y"}
_TOKEN = re.compile(r"%(-?[A-Za-z%])|(.)", re.DOTALL)
_PLAIN = re.compile(r"[:0-9]")  # characters that stand for themselves in a date's format, in every language


# The maximum width of each part of a date, in the languages in which Excel writes months and days.
_PARTS = {"yy": 2, "yyyy": 4, "m": 2, "mm": 2, "mmm": 5, "mmmm": 12, "mmmmm": 1, "d": 2, "dd": 2, "ddd": 4, "dddd": 14}
_PARTS |= {"h": 2, "hh": 2, "s": 2, "ss": 2, "am/pm": 4, "a/p": 2}
_PART = re.compile(
    r"\\(.)|_(.)|\*.|\"([^\"]*)\"|\[(?:\$([^-\]]*)[^\]]*|(h+|m+|s+)|[^\]]*)\]|(am/pm|a/p|y+|m+|d+|h+|s+)|(.)", re.I
)


def decimals(scale: int) -> str:
    """The format of a number with ``scale`` digits after the point, including zeros."""
    return WHOLE if scale <= 0 else "0." + "0" * min(scale, _DECIMALS_MAX)


def longest(code: str, digits: int) -> int:
    """The length of the longest value of ``code``, with a sign and up to ``digits`` before the point."""
    fixed = whole = 0
    grouped = point = False
    for escaped, space, quoted, currency, elapsed, part, char in _PART.findall(code.split(";", maxsplit=1)[0]):
        if part:
            fixed += _PARTS.get(part.lower(), 4)
        elif elapsed or (char and char in "0#?" and not point):
            whole = digits + 1
        elif char == ",":
            grouped = True
        else:
            point = point or char == "."
            fixed += len(escaped + space + quoted + currency + char)
    return fixed + whole + (digits // 3 if grouped else 0)


def is_strftime(pattern: str) -> bool:
    """Whether ``pattern`` is meant for strftime rather than Excel, where ``%`` is never followed by a letter."""
    return re.search(r"%-?[A-Za-z]", pattern) is not None


def from_strftime(pattern: str, option: str) -> str:
    """Excel's format for a strftime ``pattern``; Refused, naming ``option``, if there is none."""
    if pattern == "rfc3339":
        return r"yyyy\-mm\-dd\Thh:mm:ss" + MILLISECONDS
    for short, long in _EXPANSIONS.items():
        pattern = pattern.replace(short, long)
    tokens = [(m[1], m[2]) if m[1] != "%" else (None, "%") for m in _TOKEN.finditer(pattern)]
    codes = [code for code, _ in tokens if code]
    if unknown := [code for code in codes if code not in _CODES]:
        raise Refused(f"Option {option!r}: a spreadsheet cannot show %{unknown[0]}.", code="bad_option")
    if ("p" in codes) != any(code in ("I", "-I") for code in codes):
        raise Refused(f"Option {option!r}: a spreadsheet needs %I and %p together.", code="bad_option")
    _check_minutes(codes, option)
    _check_fraction(tokens, option)
    return check("".join(_CODES[code] if code else _literal(char) for code, char in tokens), option)


def check(code: str, what: str) -> str:
    """``code`` itself; Refused if Excel would not open a file with it, because of its length, brackets or quotes."""
    bare = re.sub(r'\\.|_.|\*.|"[^"]*"', "", code)
    balanced = '"' not in bare and re.fullmatch(r"[^\[\]]*(\[[^\[\]]+\][^\[\]]*)*", bare) is not None
    if not code or len(code) > FORMAT_CHARS_MAX or not code.isprintable() or not balanced or bare.count(";") > 3:
        raise Refused(f"{what}: {code!r} is not a number format of Excel.", code="bad_option")
    return code


def _literal(char: str) -> str:
    if not char.isprintable():
        raise Refused("A date format for spreadsheets takes printable characters only.", code="bad_option")
    return char if _PLAIN.match(char) else "\\" + char


def _check_minutes(codes: list[str], option: str) -> None:
    """Excel reads ``mm`` as minutes right after hours or right before seconds, and as the month elsewhere."""
    around = ["", *(code.lstrip("-") for code in codes), ""]
    for (before, code), (_, after) in pairwise(pairwise(around)):
        as_minutes = before in ("H", "I") or after == "S"
        if (code == "M" and not as_minutes) or (code == "m" and as_minutes):
            raise Refused(
                f"Option {option!r}: in a spreadsheet %M must be next to %H or %S, and %m must not.", code="bad_option"
            )


def _check_fraction(tokens: list[tuple[str | None, str]], option: str) -> None:
    for at, (code, _) in enumerate(tokens):
        if code == "f" and (at < 2 or tokens[at - 2][0] not in ("S", "-S") or tokens[at - 1][1] not in (".", ",")):
            raise Refused(f"Option {option!r}: a spreadsheet shows %f only as %S.%f.", code="bad_option")
