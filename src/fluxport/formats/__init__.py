"""The formats: a table of names, loaded when used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.formats.options import CommonOptions, parse_options
from fluxport.plugins import Table
from fluxport.stages import Encoder


class Format(NamedTuple):
    """All that is known of a format without importing it.

    ``module`` is imported when the format is used; it has the options dataclass ``options`` and the class ``encoder``,
    called as ``Encoder(options, findings)``. Files end in the first of ``suffixes`` and are recognized by any of them.
    A charset that the options name is added to ``media_type``.
    """

    module: str
    options: str
    encoder: str
    label: str  # in lists that people read
    suffixes: tuple[str, ...]
    media_type: str
    aliases: tuple[str, ...] = ()
    exact_text: bool = False  # pushed numbers and dates are text in the file, so they stay as they were sent
    exact_numbers: bool = True  # a pushed number keeps all its digits; else it becomes a double
    delimited: bool = False  # a spreadsheet reads it as it reads CSV: by a locale, and runs text that is a formula
    sheets: bool = False  # a workbook, with the options sheet_name, freeze_header and autofilter
    packed: bool = False  # its bytes are compressed already
    compresses_inside: str = ""  # the option that does so; compression of the whole file is refused then


FORMATS: Table[Format] = Table(
    "format",
    Format,
    {
        "csv": Format(
            "fluxport.formats.csv",
            "CsvOptions",
            "CsvEncoder",
            label="CSV",
            suffixes=(".csv",),
            media_type="text/csv",
            exact_text=True,
            delimited=True,
        ),
        "tsv": Format(
            "fluxport.formats.csv",
            "TsvOptions",
            "CsvEncoder",
            label="TSV",
            suffixes=(".tsv", ".tab"),
            media_type="text/tab-separated-values",
            exact_text=True,
            delimited=True,
        ),
        "jsonl": Format(
            "fluxport.formats.json",
            "JsonOptions",
            "JsonLinesEncoder",
            label="JSON Lines",
            suffixes=(".jsonl", ".ndjson"),
            media_type="application/x-ndjson",
            aliases=("ndjson",),
            exact_text=True,
        ),
        "json": Format(
            "fluxport.formats.json",
            "JsonOptions",
            "JsonEncoder",
            label="JSON",
            suffixes=(".json",),
            media_type="application/json",
            exact_text=True,
        ),
        "xlsx": Format(
            "fluxport.formats.xlsx",
            "XlsxOptions",
            "XlsxEncoder",
            label="Excel (XLSX)",
            suffixes=(".xlsx",),
            media_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            aliases=("excel",),
            sheets=True,
            packed=True,
        ),
        "parquet": Format(
            "fluxport.formats.parquet",
            "ParquetOptions",
            "ParquetEncoder",
            label="Parquet",
            suffixes=(".parquet",),
            media_type="application/vnd.apache.parquet",
            exact_numbers=False,
            packed=True,
            compresses_inside="codec",
        ),
        "orc": Format(
            "fluxport.formats.orc",
            "OrcOptions",
            "OrcEncoder",
            label="ORC",
            suffixes=(".orc",),
            media_type="application/vnd.apache.orc",
            exact_numbers=False,
            packed=True,
            compresses_inside="codec",
        ),
        "arrow": Format(
            "fluxport.formats.arrow",
            "ArrowOptions",
            "ArrowEncoder",
            label="Arrow",
            suffixes=(".arrows", ".arrow"),
            media_type="application/vnd.apache.arrow.stream",
            exact_numbers=False,
        ),
    },
)


def canonical(name: str) -> str:
    """The format's own name for ``name`` or an alias of it; Refused with the names that exist."""
    found = FORMATS.find(name)
    if found is None:
        raise Refused(f"Unknown format {name!r}; choose one of: {', '.join(FORMATS)}.", code="unknown_format")
    return found


def by_suffix(filename: str) -> str | None:
    """The format whose files end as ``filename`` does, in lower case; formats of other packages come last."""
    return next((name for name in FORMATS if filename.endswith(FORMATS[name].suffixes)), None)


def options_class(name: str) -> type[CommonOptions]:
    """The options dataclass of format ``name`` (a canonical name)."""
    found: type[CommonOptions] = _loaded(name, FORMATS[name].options)
    return found


def options(name: str, given: Mapping[str, Any]) -> CommonOptions:
    """The checked options of format ``name`` (a canonical name)."""
    return parse_options(options_class(name), given)


def encoder(name: str, checked: CommonOptions, findings: Findings) -> Encoder:
    """An encoder for one file; ``checked`` comes from :func:`options` of the same format."""
    made: Encoder = _loaded(name, FORMATS[name].encoder)(checked, findings)
    return made


def media_type(name: str, checked: CommonOptions) -> str:
    """The media type of a file of format ``name`` with these options."""
    plain = FORMATS[name].media_type
    return f"{plain}; charset={checked.charset}" if checked.charset else plain


def _loaded(name: str, attribute: str) -> Any:
    return FORMATS.attribute(name, FORMATS[name].module, attribute)
