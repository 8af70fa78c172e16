"""The kernel and styles of a column, chosen once by its type, its metadata and the options."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache

import pyarrow as pa

from fluxport import compute as pc
from fluxport.decimals import DecimalText, decimal_type
from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.formats._scalars import plain as unwrapped
from fluxport.formats.text import TextStyle, kind_of, text_of
from fluxport.formats.xlsx import cells, numfmt
from fluxport.formats.xlsx.cells import Cells, Column, Kernel, filled, inline_text
from fluxport.formats.xlsx.celltext import escaped, text
from fluxport.formats.xlsx.options import WIDTH_MAX, XlsxOptions
from fluxport.formats.xlsx.parts import Styles
from fluxport.stages import FIELD_AS_TEXT, FIELD_FORMAT, FIELD_TYPE, FIELD_WIDTH, Stored

_HEADER_WIDTH_MAX = 40
_TEXT_WIDTH = 20
_NUMBER_WIDTH = 12
_LONGEST_DOUBLE = len("-1.7976931348623157e+308")
_CLOCK_HOURS = 3  # digits: MySQL's TIME reaches 838 hours

# The kernel of a type: the first row that matches.
_T = pa.types
_KERNELS: tuple[tuple[Callable[[pa.DataType], bool], Kernel], ...] = (
    (_T.is_boolean, cells.boolean),
    (_T.is_integer, cells.integer),
    (_T.is_floating, cells.floating),
    (lambda kind: decimal_type(kind) is not None, cells.decimal),
    (_T.is_date, cells.date),
    (_T.is_timestamp, cells.timestamp),
    (_T.is_time, cells.duration),
    (_T.is_duration, cells.duration),
    (lambda _: True, text),
)
# The longest text of database types whose values are text here.
_LONGEST_TEXTS = {"uuid": 36, "inet6": 39, "inet": 43, "cidr": 43, "macaddr": 17, "macaddr8": 23}


def plain(array: pa.Array) -> pa.Array:
    """``array`` in one of the types that kernels support: unwrapped, and without rare widths."""
    if isinstance(array.type, DecimalText):
        return array
    array = unwrapped(array)
    kind = array.type
    return pc.cast(array, _PLAIN_TYPES[kind]) if kind in _PLAIN_TYPES else array


_PLAIN_TYPES = {
    pa.large_string(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.date64(): pa.date32(),
    pa.float16(): pa.float32(),
    pa.null(): pa.string(),
}


def is_plain(field: pa.Field) -> bool:
    """Whether :func:`plain` leaves the arrays of ``field`` as they are."""
    same: bool = _plain_field(field).type == field.type
    return same


def alike(column: Column, kernel: Kernel) -> Hashable:
    """A key that is equal for columns which one call of ``kernel`` can handle; None if there is none."""
    kind = column.field.type
    if _T.is_nested(kind):
        return None
    return kernel, kind, kind_of(column.field), column.style, column.text_style, column.quoted_style


def make(field: pa.Field, name: str, options: XlsxOptions, styles: Styles, findings: Findings) -> tuple[Column, Kernel]:
    """The column named ``name`` in the file, and its kernel."""
    field = _plain_field(field)
    kernel = _kernel(field)
    code = _number_format(field, options)
    style, text_style = styles.style(code), styles.style(right=True)
    quoted_style = style
    if kernel is text:
        text_style = style
        if options.sanitize != "off":
            quoted_style = styles.style(code, quoted=True)
    elif _is_text_wanted(field, options):
        kernel, style, quoted_style = text, text_style, text_style
    elif kernel is cells.integer and field.type.bit_width == 64 and code == numfmt.GENERAL:
        kernel = cells.by_length(styles.style(numfmt.WHOLE))
    elif kernel is cells.timestamp and kind_of(field) == b"date" and code == numfmt.DATETIME:
        kernel = cells.by_time_of_day(styles.style(numfmt.DATE))
    right = kernel is not cells.boolean and (kernel is not text or style == styles.style(right=True))
    style_of_text = _text_style(options)
    if kernel is text:
        text_of(pa.nulls(0, field.type), field, style_of_text)  # Refused here if the type has no text
    column = Column(
        names=(name,),
        field=field,
        style=style,
        text_style=text_style,
        quoted_style=quoted_style,
        right=right,
        text=style_of_text,
        cut_long=options.on_long_text == "truncate",
        findings=findings,
    )
    return column, kernel if options.null_value is None else _with_null(kernel, options.null_value)


def stored(field: pa.Field, options: XlsxOptions) -> Stored:
    """The kind of cell that the column of ``field`` has."""
    field = _plain_field(field)
    kernel: Kernel = text if _is_text_wanted(field, options) else _kernel(field)
    what, decimal = _STORED[kernel], decimal_type(field.type)
    short = _T.is_integer(field.type) and field.type.bit_width < 64  # which a double holds
    if kernel is not text and (short or (decimal is not None and decimal.precision <= cells.DIGITS_MAX)):
        return what._replace(findings=())
    coarse = _T.is_temporal(field.type) and getattr(field.type, "unit", "s") in ("s", "ms")
    return what._replace(findings=what.findings[:1]) if coarse else what


def _kernel(field: pa.Field) -> Kernel:
    kernel = next(kernel for fits, kernel in _KERNELS if fits(field.type))
    return cells.number_text if kernel is text and kind_of(field) == b"number" else kernel


_STORED: dict[Kernel, Stored] = {
    cells.boolean: Stored("boolean"),
    cells.integer: Stored("number", ("number_as_text",)),
    cells.floating: Stored("number", ("not_a_number", "number_as_text")),
    cells.decimal: Stored("number", ("number_as_text",)),
    cells.number_text: Stored("number", ("not_a_number", "number_as_text")),
    cells.date: Stored("date", ("date_as_text",)),
    cells.timestamp: Stored("date and time", ("date_as_text", "precision_reduced")),
    cells.duration: Stored("time", ("date_as_text", "precision_reduced")),
    text: Stored("text", ("cell_cut",)),
}


def width(field: pa.Field, name: str, options: XlsxOptions) -> float:
    """The column's width in characters: from its metadata, else from the longest value of its type and the header. In a
    narrower column a number written as text would look like another number, and a number cell would show as ####."""
    setting = (field.metadata or {}).get(FIELD_WIDTH)
    if setting is None:
        usual = max(_longest(_plain_field(field), options) + 1, min(len(name) + 3, _HEADER_WIDTH_MAX))
        return min(float(usual), WIDTH_MAX)
    try:
        wanted = float(setting)
    except ValueError:
        wanted = -1.0
    if not 0 <= wanted <= WIDTH_MAX:
        raise Refused(f"Column {name!r}: width cannot be {setting.decode()!r}; it takes 0 to 255.", code="bad_option")
    return wanted


def _longest(field: pa.Field, options: XlsxOptions) -> int:
    """The displayed length of the longest value of a type; for text, a usual length."""
    kind, code = field.type, _number_format(field, options)
    decimal = decimal_type(kind)
    if _T.is_boolean(kind):
        return max(7, len(options.true_value or ""), len(options.false_value or ""))
    if kind_of(field) == b"number" or _T.is_floating(kind):
        length = _LONGEST_DOUBLE if kind_of(field) == b"number" else _NUMBER_WIDTH - 1
        return length if code == numfmt.GENERAL else max(length, numfmt.longest(code, _NUMBER_WIDTH - 1))
    if _T.is_integer(kind):
        digits = len(str(2 ** (kind.bit_width - _T.is_signed_integer(kind))))
    elif decimal is not None:
        digits = max(1, decimal.precision - decimal.scale)
    elif _T.is_temporal(kind):
        digits = _CLOCK_HOURS
    else:
        named = (field.metadata or {}).get(FIELD_TYPE, b"").decode().lower()
        return _LONGEST_TEXTS.get(named, _TEXT_WIDTH - 1)
    length = digits + 1 if code == numfmt.GENERAL else numfmt.longest(code, digits)
    exact = digits + 2 + decimal.scale if decimal is not None and decimal.scale > 0 else 0  # as text, if it is too long
    return max(length, exact, _NUMBER_WIDTH - 1)


def _plain_field(field: pa.Field) -> pa.Field:
    known = not isinstance(field.type, pa.BaseExtensionType)  # those of others may have no hash
    kind = _plain_type(field.type) if known else plain(pa.nulls(0, field.type)).type
    return field if kind == field.type else field.with_type(kind)


@lru_cache(maxsize=256)
def _plain_type(kind: pa.DataType) -> pa.DataType:
    return plain(pa.nulls(0, kind)).type


def _number_format(field: pa.Field, options: XlsxOptions) -> str:
    """Excel's format for a column: its own, else that of the date options, else one for its unit."""
    kind = field.type
    own = (field.metadata or {}).get(FIELD_FORMAT, b"").decode()
    if own and not (_T.is_temporal(kind) and numfmt.is_strftime(own)):
        return numfmt.check(own, f"Column {field.name!r}")
    if own:
        return numfmt.from_strftime(own, "format")
    if _T.is_date(kind):
        return numfmt.from_strftime(options.date_format, "date_format") if options.date_format else numfmt.DATE
    if _T.is_timestamp(kind) and options.datetime_format:
        return numfmt.from_strftime(options.datetime_format, "datetime_format")
    if (decimal := decimal_type(kind)) is not None:
        return numfmt.decimals(decimal.scale)
    if not (_T.is_timestamp(kind) or _T.is_time(kind) or _T.is_duration(kind)):
        return numfmt.GENERAL
    fraction = "" if kind.unit == "s" or kind_of(field) == b"date" else numfmt.MILLISECONDS
    return (numfmt.DATETIME if _T.is_timestamp(kind) else numfmt.DURATION) + fraction


def _is_text_wanted(field: pa.Field, options: XlsxOptions) -> bool:
    """Whether non-text values become text: because the column's metadata says so, or booleans with custom words."""
    words = options.true_value is not None or options.false_value is not None
    return (field.metadata or {}).get(FIELD_AS_TEXT) == b"1" or (_T.is_boolean(field.type) and words)


def _text_style(options: XlsxOptions) -> TextStyle:
    return TextStyle(
        true_value="true" if options.true_value is None else options.true_value,
        false_value="false" if options.false_value is None else options.false_value,
        binary=options.binary or "hex",
    )


@lru_cache(maxsize=64)
def _with_null(kernel: Kernel, null_value: str) -> Kernel:
    """``kernel``, writing a text cell of ``null_value`` for each null."""
    null = escaped(pc.from_strings([null_value]))

    def filling(column: Column, array: pa.Array, first_row: int) -> Cells:
        result = kernel(column, array, first_row)
        if not array.null_count:
            return result
        return filled(result, pc.is_null(array), inline_text(column.text_style, null, preserve=True))

    return filling
