"""Options of the formats: one frozen dataclass per format, read from JSON, YAML or ``k=v`` by :func:`parse_options`.

A format's module extends :class:`CommonOptions` with its own fields. A field's annotation defines what is accepted
(bool, int, str, Literal[...], ``... | None``); an unknown name or a wrong value raises Refused, which lists the
accepted ones, before any work starts. Profiles are named sets of options; they override a locale, and single options
override both.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from fluxport.errors import Refused

T = TypeVar("T", bound="CommonOptions")
D = TypeVar("D")


def option(default: D, description: str) -> D:
    """A field of an options class: its default, and its Markdown description for the reference and the API."""
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True)
class ColumnChoice:
    """One column of the result: its ``name`` in the source, ``label`` in the file, and format in a spreadsheet."""

    name: str
    label: str | None = None
    width: float | None = None
    format: str | None = None
    as_text: bool = False


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    columns: tuple[ColumnChoice, ...] = option(
        (), "pick, order and rename: `a,b` or a list of names and of `{name, label, width, format, as_text}`"
    )
    limit: int | None = option(
        None, "maximum number of rows; reaching it is reported as `limit_reached` and `truncated`"
    )
    timezone: str | None = option(
        None, "IANA name of the zone in which timestamps with a zone (MySQL `TIMESTAMP`) are shown"
    )
    datetime_format: str | None = option(
        None, "a strftime pattern or `rfc3339`; in XLSX it becomes the cells' number format"
    )
    date_format: str | None = option(None, "a strftime pattern; in XLSX it becomes the cells' number format")
    null_value: str | None = option(None, "the text of NULL in CSV, TSV and XLSX; empty unless set")
    true_value: str | None = option(None, "the text of true; `true` unless set, in XLSX a real boolean")
    false_value: str | None = option(None, "the text of false; `false` unless set, in XLSX a real boolean")
    binary: Literal["hex", "base64"] | None = option(None, "how bytes become text; `base64` in JSON, else `hex`")
    header: bool = option(True, "the first line or row holds the column names (CSV, TSV, XLSX)")
    sanitize: Literal["formulas", "off"] = option(
        "formulas", "defuse text that a spreadsheet would run as a formula (CSV, TSV, XLSX)"
    )
    profile: str | None = option(None, "a named set of options, see [profiles](#profiles)")
    locale: str | None = option(
        None, "a BCP 47 tag such as `de-DE`: decimal sign, delimiter and order of dates as CLDR has them"
    )
    max_rows_per_file: int | None = option(
        None, "`fluxport export` to a file or a folder: at most this many rows in each of several files"
    )
    max_bytes_per_file: int | None = option(
        None, "the same, by stored size: no file is larger; each batch is encoded once more to measure it"
    )

    @property
    def file_rows_max(self) -> int | None:
        """The row limit of one of several files."""
        return self.max_rows_per_file

    @property
    def charset(self) -> str | None:
        """The IANA name of the file's text encoding, for its media type; None where the format fixes it."""
        return None


PROFILES: dict[str, dict[str, Any]] = {
    "machine": {"sanitize": "off", "datetime_format": "rfc3339"},
    "excel": {"bom": True, "line_ending": "crlf", "datetime_format": "%Y-%m-%d %H:%M:%S"},
    "excel-eu": {
        "delimiter": ";",
        "bom": True,
        "line_ending": "crlf",
        "decimal_separator": ",",
        "datetime_format": "%Y-%m-%d %H:%M:%S",
    },
    "rfc4180": {"line_ending": "crlf"},
}


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Cached, because ``get_type_hints`` compiles each annotation at every call."""
    return typing.get_type_hints(cls)


def parse_options(cls: type[T], given: Mapping[str, Any]) -> T:
    """``given`` as an instance of ``cls``; Refused, listing the known names or accepted values, if one is wrong."""
    known = _hints(cls)  # type: ignore[arg-type]  # a class can be hashed
    for name in given:
        if name not in known:
            raise Refused(
                f"Unknown option {name!r}; this format knows: {', '.join(sorted(known))}.", code="unknown_option"
            )
    profile = given.get("profile")
    if profile is not None and (not isinstance(profile, str) or profile not in PROFILES):
        raise Refused(f"Unknown profile {profile!r}; choose one of: {', '.join(PROFILES)}.", code="unknown_profile")
    merged = dict(PROFILES.get(profile or "", {}))
    if given.get("locale"):
        from fluxport.formats.locale import locale_options

        merged = locale_options(str(given["locale"])) | merged
    merged = {k: v for k, v in merged.items() if k in known} | dict(given)
    return cls(**{name: _value(name, value, known[name]) for name, value in merged.items()})


def _value(name: str, value: Any, wanted: Any) -> Any:
    if name == "columns":
        return parse_columns(value)
    # Literal[...] | None is a typing.Union, str | None a types.UnionType.
    union = typing.get_origin(wanted) in (types.UnionType, typing.Union)
    accepted = list(typing.get_args(wanted)) if union else [wanted]
    accepted = [a for a in accepted if a is not types.NoneType] if value is not None else accepted
    if value is None and types.NoneType in accepted:
        return None
    for kind in accepted:
        if typing.get_origin(kind) is Literal:
            if value in typing.get_args(kind):
                return value
        elif kind is bool and (value is True or value is False or str(value).lower() in _WORDS):
            return value if isinstance(value, bool) else _WORDS[str(value).lower()]
        elif kind is int and not isinstance(value, bool) and _is_int(value):
            return int(value)
        elif kind is str and isinstance(value, str):
            return value
    raise Refused(f"Option {name!r} cannot be {value!r}; it takes {_describe(accepted)}.", code="bad_option")


_WORDS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False, "1": True, "0": False}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value) is not None)


def _describe(accepted: list[Any]) -> str:
    words = {bool: "true or false", int: "a whole number", str: "text"}
    return " or ".join(
        ", ".join(repr(a) for a in typing.get_args(k)) if typing.get_origin(k) is Literal else words.get(k, str(k))
        for k in accepted
        if k is not types.NoneType
    )


def json_schema(cls: type[CommonOptions], of: dataclasses.Field[Any]) -> dict[str, Any]:
    """The JSON Schema of an option."""
    if of.name == "columns":
        schema: dict[str, Any] = {"type": "array"}
    else:
        wanted = _hints(cls)[of.name]  # type: ignore[arg-type]  # a class can be hashed
        union = typing.get_origin(wanted) in (types.UnionType, typing.Union)
        kinds = [_KINDS.get(kind, kind) for kind in (typing.get_args(wanted) if union else (wanted,))]
        choices = [choice for kind in kinds for choice in typing.get_args(kind)]
        names = [kind for kind in kinds if isinstance(kind, str)]
        schema = {"enum": choices + [None] * ("null" in names)} if choices else {"type": names if union else names[0]}
    return schema | {"default": of.default, "description": of.metadata.get("description", "")}


_KINDS = {bool: "boolean", int: "integer", str: "string", types.NoneType: "null"}


def parse_columns(value: Any) -> tuple[ColumnChoice, ...]:
    """Columns from ``"a,b"``, ``["a", {"name": "b", "label": "B"}]`` or parsed choices."""
    items = [v.strip() for v in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise Refused("Option 'columns' takes a list of names or of {name, label, width, format}.", code="bad_option")
    return tuple(_column(item) for item in items)


def _column(item: Any) -> ColumnChoice:
    if isinstance(item, ColumnChoice):
        return item
    if isinstance(item, str) and item:
        return ColumnChoice(item)
    names = [f.name for f in dataclasses.fields(ColumnChoice)]
    if not isinstance(item, Mapping) or not item.get("name") or set(item) - set(names):
        raise Refused(f"A column is a name or an object of {', '.join(names)}; got {item!r}.", code="bad_option")
    for key, kinds in (("name", str), ("label", str), ("format", str), ("width", (int, float)), ("as_text", bool)):
        if item.get(key) is not None and not isinstance(item[key], kinds):
            raise Refused(f"Column {item['name']!r}: {key} cannot be {item[key]!r}.", code="bad_option")
    return ColumnChoice(**item)
