"""Download file names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from fluxport.errors import Refused
from fluxport.headers import one_line

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_FIELD = re.compile(r"\{([^{}]*)\}")
VALUE_MAX = 60  # characters of a value in a name
# A template and a value are cut before each of their characters is looked at: names have at most 200 bytes.
READ_MAX = 1000
PARAM = "param."
# What an export may have, besides params: values for file_name.
OF_EXPORTS = ("dataset", "user", "connection")


def plain(text: str) -> str:
    """``text`` with braces replaced, which are fields in templates."""
    return text.replace("{", "(").replace("}", ")")


def fields(params: Any, **values: str | None) -> dict[str, Any]:
    """The values that an export has for a template: of OF_EXPORTS, and of its ``params`` as ``param.NAME``."""
    given = params.items() if isinstance(params, Mapping) else ()
    return values | {f"{PARAM}{name}": value for name, value in given}


def _clean(text: str) -> str:
    """``text`` as a part of a name, without invisible characters: a direction mark can show fdp.exe as exe.pdf."""
    return one_line(_UNSAFE.sub("_", text))


def _shown(value: Any) -> str:
    """A value as a part of a name, the items of a list with commas; empty if it has no text."""
    items = value if isinstance(value, list | tuple) else [value]
    texts = [_text(item) for item in items[:VALUE_MAX]]
    return _clean(plain(",".join(filter(None, texts))[:READ_MAX]))[:VALUE_MAX].strip()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float | Decimal | date | time) else ""


def file_name(
    template: str | None,
    suffix: str,
    *,
    export_id: str,
    now: datetime,
    numbered: bool = False,
    given: Mapping[str, Any] | None = None,
) -> str:
    """The download file name: the caller's template filled in, unsafe characters replaced, with the right suffix.

    ``given`` has the values of :func:`fields`. ``{part}`` is left for later if files are ``numbered``, else it is an
    unknown field. Refused (``bad_filename``) for an unknown field, and for one that has no value.
    """
    always = {"job_id": export_id, "date": f"{now:%Y-%m-%d}", "time": f"{now:%H%M%S}"}
    own = always | ({"part": "{part}"} if numbered else {})

    def filled(match: re.Match[str]) -> str:
        if match[1] in own:
            return own[match[1]]
        if match[1] in OF_EXPORTS or match[1].startswith(PARAM):
            if value := _shown((given or {}).get(match[1])):
                return value
            raise Refused(f"'filename' has {match[0]}, for which this export has no value.", code="bad_filename")
        valid = ", ".join(f"{{{key}}}" for key in (*own, *OF_EXPORTS, f"{PARAM}NAME"))
        raise Refused(f"Unknown field {match[0]} in 'filename'; valid are: {valid}.", code="bad_filename")

    name = _clean(_FIELD.sub(filled, (template or "export-{date}-{time}").strip()[:READ_MAX])).strip(". ")
    if not name:
        raise Refused("'filename' has no usable character.", code="bad_filename")
    stem = name
    for ending in (suffix, f".{suffix.split('.')[1]}"):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
            break
    return stem.encode()[: 200 - len(suffix)].decode(errors="ignore") + suffix
