"""The formats: a table of names, loaded when used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.formats.options import CommonOptions, parse_options
from fluxport.stages import Encoder


class Format(NamedTuple):
    """Where a format lives: its module, its options dataclass and its encoder (``Encoder(options, findings)``)."""

    module: str
    options: str
    encoder: str
    suffixes: tuple[str, ...]


FORMATS: dict[str, Format] = {
    "csv": Format("csv", "CsvOptions", "CsvEncoder", (".csv",)),
    "tsv": Format("csv", "TsvOptions", "TsvEncoder", (".tsv", ".tab")),
    "jsonl": Format("json", "JsonOptions", "JsonLinesEncoder", (".jsonl", ".ndjson")),
    "json": Format("json", "JsonOptions", "JsonEncoder", (".json",)),
    "xlsx": Format("xlsx", "XlsxOptions", "XlsxEncoder", (".xlsx",)),
    "parquet": Format("parquet", "ParquetOptions", "ParquetEncoder", (".parquet",)),
    "arrow": Format("arrow", "ArrowOptions", "ArrowEncoder", (".arrows", ".arrow")),
}
ALIASES = {"excel": "xlsx", "ndjson": "jsonl"}


def canonical(name: str) -> str:
    """The format's own name for ``name`` or an alias of it; Refused with the names that exist."""
    found = ALIASES.get(name.lower(), name.lower())
    if found not in FORMATS:
        raise Refused(f"Unknown format {name!r}; choose one of: {', '.join(FORMATS)}.", code="unknown_format")
    return found


def options(name: str, given: Mapping[str, Any]) -> CommonOptions:
    """The checked options of format ``name`` (a canonical name)."""
    entry = FORMATS[name]
    cls: type[CommonOptions] = getattr(importlib.import_module(f"{__name__}.{entry.module}"), entry.options)
    return parse_options(cls, given)


def encoder(name: str, checked: CommonOptions, findings: Findings) -> Encoder:
    """An encoder for one file; ``checked`` comes from :func:`options` of the same format."""
    entry = FORMATS[name]
    made: Encoder = getattr(importlib.import_module(f"{__name__}.{entry.module}"), entry.encoder)(checked, findings)
    return made
