"""Default options for a locale, from CLDR by way of babel.

The options are those with which a spreadsheet set to that locale recognizes numbers and dates: the decimal separator
for Latin digits, the delimiter (``;`` where the decimal separator is ``,``), and the numeric date in the locale's order
and separators with a four-digit year. Times are 24 h with ``:``, which spreadsheets accept in every locale.

The grouping separator is never set: half of CLDR's (no-break spaces, ’) turn a number into text in a spreadsheet, the
others break every program that parses them. Set ``grouping_separator`` where you need one, or give a spreadsheet column
a ``format``, which displays it without storing it.
"""

from __future__ import annotations

import re

from fluxport.errors import Refused

_NOT_PATTERN = re.compile("'[^']*'|[\u200e\u200f\u061c]|G+")  # literals, direction marks, the era
_STRFTIME = (("d+", "%d"), ("M+", "%m"), ("y+", "%Y"))


def locale_options(tag: str) -> dict[str, str]:
    """The options for BCP 47 ``tag``: decimal_separator, delimiter, date_format, datetime_format."""
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
    """CLDR's short date pattern as a numeric strftime pattern: ``d/M/yy`` becomes ``%d/%m/%Y``."""
    plain = re.sub(r"\s+", " ", _NOT_PATTERN.sub("", pattern))
    for letters, code in _STRFTIME:
        plain = re.sub(letters, code, plain)
    return re.sub(r"\s+\.?$", "", plain)
