"""Parses the metadata, the first message of a push; Refused names the wrong field."""

from __future__ import annotations

import hashlib
from typing import Any

from fluxport import formats
from fluxport.errors import Refused
from fluxport.file_names import plain
from fluxport.grpc import export_pb2 as pb
from fluxport.jobs.pushes import PushRequest
from fluxport.sources.pushed import Kind, PushedColumn

# Our names of formats by number of the enumeration, whose own names are FORMAT_<name or alias>.
FORMATS: dict[int, str] = {
    number: formats.canonical(name.removeprefix("FORMAT_")) for name, number in pb.ExportFormat.items() if number
}
KINDS: dict[int, Kind] = {
    pb.DATA_TYPE_STRING: "string",
    pb.DATA_TYPE_NUMBER: "number",
    pb.DATA_TYPE_DATE: "date",
    pb.DATA_TYPE_BOOLEAN: "boolean",
}
COLUMNS_MAX = 16_384


def read_metadata(sent: pb.ExportMetadata) -> PushRequest:
    if sent.format not in FORMATS:
        raise Refused(
            f"'format' must be one of: {', '.join(pb.ExportFormat.Name(number) for number in FORMATS)}.",
            code="unknown_format",
        )
    if not sent.filename.strip():
        raise _wrong("'filename' must not be empty.")
    if not 1 <= len(sent.columns) <= COLUMNS_MAX:
        raise _wrong(f"'columns' has 1 to {COLUMNS_MAX:,} entries.")
    name = FORMATS[sent.format]
    packed = sent.options.compression_enabled and not formats.FORMATS[name].packed
    return PushRequest(
        request_id=sent.request_id,
        digest=_digest(sent),
        format=name,
        filename=plain(sent.filename),
        columns=tuple(_column(column, number) for number, column in enumerate(sent.columns, 1)),
        options=_options(name, sent.options),
        compression="gzip" if packed else "none",
        rows_expected=sent.expected_rows or None,
    )


def _digest(sent: pb.ExportMetadata) -> str:
    """Options in which nothing is set are none: some clients send the empty message, others leave it out."""
    said = pb.ExportMetadata()
    said.CopyFrom(sent)
    if not sent.options.ByteSize():
        said.ClearField("options")
    return hashlib.sha256(said.SerializeToString(deterministic=True)).hexdigest()


def _column(sent: pb.ColumnDefinition, number: int) -> PushedColumn:
    if not sent.name:
        raise _wrong(f"Column {number} has no name.")
    if sent.data_type not in KINDS:
        raise _wrong(f"Column {sent.name!r} has an unknown data_type.")
    if sent.width < 0:
        raise _wrong(f"Column {sent.name!r}: 'width' cannot be negative.")
    return PushedColumn(sent.name, KINDS[sent.data_type], sent.width or None, sent.format or None)


def _options(name: str, sent: pb.FormatOptions) -> dict[str, Any]:
    if sent.excel_start_row < 0:
        raise _wrong("'excel_start_row' counts from 1.")
    given: dict[str, dict[str, Any]] = {
        "csv": {"delimiter": sent.csv_delimiter, "encoding": sent.csv_encoding},
        "xlsx": {"sheet_name": sent.excel_sheet_name, "start_row": sent.excel_start_row},
    }
    return {option: value for option, value in given.get(name, {}).items() if value}


def _wrong(what: str) -> Refused:
    return Refused(what, code="bad_metadata")
