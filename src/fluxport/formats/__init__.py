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
    """What the program knows about a format without importing it.

    ``module`` is imported on first use; it defines the options dataclass ``options`` and the class ``encoder``,
    called as ``Encoder(options, findings)``. Files end in the first of ``suffixes`` and are recognized by any of them.
    If the options name a charset, it is added to ``media_type``.
    """

    module: str
    options: str
    encoder: str
    label: str  # display name
    suffixes: tuple[str, ...]
    media_type: str
    aliases: tuple[str, ...] = ()
    exact_text: bool = False  # pushed numbers and dates are written as text, exactly as sent
    decimal_text: bool = False  # takes decimals as text (fluxport.decimals), so a source need not convert them
    exact_numbers: bool = True  # pushed numbers retain every digit; else they become doubles
    delimited: bool = False  # spreadsheets parse it like CSV: by locale, and they evaluate formulas
    sheets: bool = False  # a workbook, with the options sheet_name, freeze_header and autofilter
    packed: bool = False  # its bytes are already compressed
    compresses_inside: str = ""  # its compression option; compressing the whole file is then refused


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
            decimal_text=True,
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
            decimal_text=True,
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
            decimal_text=True,
        ),
        "json": Format(
            "fluxport.formats.json",
            "JsonOptions",
            "JsonEncoder",
            label="JSON",
            suffixes=(".json",),
            media_type="application/json",
            exact_text=True,
            decimal_text=True,
        ),
        "xlsx": Format(
            "fluxport.formats.xlsx",
            "XlsxOptions",
            "XlsxEncoder",
            label="Excel (XLSX)",
            suffixes=(".xlsx",),
            media_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            aliases=("excel",),
            decimal_text=True,
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
    """The canonical name for ``name``, which may be an alias; Refused, listing the known names, if there is none."""
    format_name = FORMATS.find(name)
    if format_name is None:
        raise Refused(f"Unknown format {name!r}; choose one of: {', '.join(FORMATS)}.", code="unknown_format")
    return format_name


def by_suffix(filename: str) -> str | None:
    """The format with the suffix of ``filename`` (lower case), or None; formats from other packages come last."""
    return next((name for name in FORMATS if filename.endswith(FORMATS[name].suffixes)), None)


def options_class(name: str) -> type[CommonOptions]:
    """The options dataclass of format ``name`` (a canonical name)."""
    options_type: type[CommonOptions] = _loaded(name, FORMATS[name].options)
    return options_type


def options(name: str, given: Mapping[str, Any]) -> CommonOptions:
    """The checked options of format ``name`` (a canonical name)."""
    return parse_options(options_class(name), given)


def encoder(name: str, checked: CommonOptions, findings: Findings) -> Encoder:
    """An encoder for one file; ``checked`` comes from :func:`options` of the same format."""
    new_encoder: Encoder = _loaded(name, FORMATS[name].encoder)(checked, findings)
    return new_encoder


def media_type(name: str, checked: CommonOptions) -> str:
    """The media type of a file of format ``name`` with these options."""
    plain = FORMATS[name].media_type
    return f"{plain}; charset={checked.charset}" if checked.charset else plain


def _loaded(name: str, attribute: str) -> Any:
    return FORMATS.attribute(name, FORMATS[name].module, attribute)
