"""What a locale says about a file: signs and orders from CLDR, by babel.

Filled are those with which a spreadsheet set to that locale reads numbers and dates back as such: the decimal sign in
Latin digits, the delimiter (``;`` where the decimal sign is ``,``), and the numeric date in the locale's order and
separators with a four-digit year. Times are 24 h with ``:``, which every locale of a spreadsheet takes.

No grouping sign is filled: half of CLDR's (no-break spaces, ’) turn a number into text when a spreadsheet reads it, the
others break every program that does. Who wants one asks for it (``grouping_separator``), or gives a column of a
spreadsheet a ``format``, which shows it without writing it.
"""

from __future__ import annotations

import re

from fluxport.errors import Refused

_NOT_PATTERN = re.compile("'[^']*'|[\u200e\u200f\u061c]|G+")  # literal words, marks of direction, the era
_STRFTIME = (("d+", "%d"), ("M+", "%m"), ("y+", "%Y"))


def locale_options(tag: str) -> dict[str, str]:
    """Options that BCP 47 ``tag`` fills: decimal_separator, delimiter, date_format, datetime_format."""
    from babel import Locale, UnknownLocaleError

    try:
        locale = Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError) as error:
        raise Refused(
            f"Unknown locale {tag!r}; give a BCP 47 tag such as de-DE, pt-BR or zh-Hans-CN.", code="unknown_locale"
        ) from error
    comma = locale.number_symbols.get("latn", {}).get("decimal") == ","
    date = _strftime(locale.date_formats["short"].pattern)
    return {
        "decimal_separator": "," if comma else ".",
        "delimiter": ";" if comma else ",",
        "date_format": date,
        "datetime_format": f"{date} %H:%M:%S",
    }


def _strftime(pattern: str) -> str:
    """CLDR's short date pattern as a numeric strftime pattern: ``d/M/yy`` is ``%d/%m/%Y``."""
    plain = re.sub(r"\s+", " ", _NOT_PATTERN.sub("", pattern))
    for letters, code in _STRFTIME:
        plain = re.sub(letters, code, plain)
    return re.sub(r"\s+\.?$", "", plain)
