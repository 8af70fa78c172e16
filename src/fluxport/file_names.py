"""Download file names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from fluxport.errors import Refused
from fluxport.headers import one_line

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_FIELD = re.compile(r"\{([^{}]*)\}")
VALUE_MAX = 60  # characters of a value in a name
PARAM = "param."
# What an export may have, besides params: values for file_name.
OF_EXPORTS = ("dataset", "user", "connection")


def plain(text: str) -> str:
    """``text`` with braces replaced, which are fields in templates."""
    return text.replace("{", "(").replace("}", ")")


def fields(params: Any, **values: str | None) -> dict[str, str]:
    """The values that an export has for a template: of OF_EXPORTS, and of its ``params`` as ``param.NAME``."""
    given = params.items() if isinstance(params, Mapping) else ()
    texts = {name: value or "" for name, value in values.items()} | {f"{PARAM}{n}": _text(v) for n, v in given}
    cleaned = {name: _clean(plain(text))[:VALUE_MAX].strip() for name, text in texts.items()}
    return {name: text for name, text in cleaned.items() if text}


def _clean(text: str) -> str:
    """``text`` as a part of a name, without invisible characters: a direction mark can show fdp.exe as exe.pdf."""
    return one_line(_UNSAFE.sub("_", text))


def _text(value: Any) -> str:
    """A parameter as text, the items of a list with commas; empty for a value without a text of its own."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float | Decimal | date | time):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return ",".join(filter(None, map(_text, value)))
    return ""


def file_name(
    template: str | None,
    suffix: str,
    *,
    export_id: str,
    now: datetime,
    numbered: bool = False,
    given: Mapping[str, str] | None = None,
) -> str:
    """The download file name: the caller's template filled in, unsafe characters replaced, with the right suffix.

    ``given`` has the values of :func:`fields`. ``{part}`` is left for later if files are ``numbered``, else it is an
    unknown field. Refused (``bad_filename``) for an unknown field, and for one that has no value.
    """
    always = {"job_id": export_id, "date": f"{now:%Y-%m-%d}", "time": f"{now:%H%M%S}"}
    values = always | ({"part": "{part}"} if numbered else {}) | dict(given or {})

    def filled(match: re.Match[str]) -> str:
        if (value := values.get(match[1])) is not None:
            return value
        if match[1] in OF_EXPORTS or match[1].startswith(PARAM):
            raise Refused(f"'filename' has {match[0]}, for which this export has no value.", code="bad_filename")
        valid = ", ".join(f"{{{key}}}" for key in (*always, *(["part"] if numbered else []), *OF_EXPORTS, "param.NAME"))
        raise Refused(f"Unknown field {match[0]} in 'filename'; valid are: {valid}.", code="bad_filename")

    name = _clean(_FIELD.sub(filled, (template or "export-{date}-{time}").strip())).strip(". ")
    if not name:
        raise Refused("'filename' has no usable character.", code="bad_filename")
    stem = name
    for ending in (suffix, f".{suffix.split('.')[1]}"):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
            break
    return stem.encode()[: 200 - len(suffix)].decode(errors="ignore") + suffix
