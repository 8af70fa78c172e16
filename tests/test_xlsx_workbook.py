"""The parts of a workbook: sheets, names, header, widths, formats, tables, notes."""

from __future__ import annotations

import datetime as dt
import io
import re
from typing import Any
from xml.etree import ElementTree

import openpyxl
import pyarrow as pa
import pytest

from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.formats.xlsx import XlsxEncoder, XlsxOptions, data_rows_max
from fluxport.stages import FIELD_AS_TEXT, FIELD_FORMAT, FIELD_TYPE, FIELD_WIDTH
from xlsx_support import NS, Made, cells, column, decoded, openpyxl_rows, workbook

ROWS_MAX, COLUMNS_MAX = 1_048_576, 16_384  # of a sheet, as Excel has it

SHEET = "xl/worksheets/sheet1.xml"
# Child elements in the order of ECMA-376 part 1 (those that are written); Excel repairs a file that has another order.
ORDER = {
    "worksheet": ["sheetViews", "sheetFormatPr", "cols", "sheetData", "autoFilter", "pageMargins", "ignoredErrors",
                  "tableParts"],
    "sheetView": ["pane", "selection"],
    "workbook": ["workbookPr", "bookViews", "sheets", "definedNames"],
    "styleSheet": ["numFmts", "fonts", "fills", "borders", "cellStyleXfs", "cellXfs", "cellStyles"],
    "table": ["autoFilter", "tableColumns", "tableStyleInfo"],
    "row": ["c"],
}  # fmt: skip


def table(**columns: Any) -> pa.RecordBatch:
    return pa.record_batch(columns)


def book(made: Made) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(made.data))


def names(*column_names: str) -> pa.RecordBatch:
    return pa.record_batch([pa.array([1])] * len(column_names), names=list(column_names))


@pytest.mark.parametrize(
    "given", [{}, {"table": True}, {"autofilter": True}, {"compact": True}, {"notes_sheet": "always"}]
)
def test_elements_stand_in_the_order_of_the_standard(given: dict[str, Any]) -> None:
    made = workbook(table(a=[1, 10**17, None], b=["x", "=y", None]), **given)
    for part in made.parts():
        for element in ElementTree.fromstring(made.part(part)).iter():
            if wanted := ORDER.get(element.tag.rpartition("}")[2]):
                children = [wanted.index(child.tag.rpartition("}")[2]) for child in element]
                assert children == sorted(children), (part, element.tag)


def test_every_part_has_a_content_type_and_every_relationship_a_part() -> None:
    made = workbook(table(a=[1, 10**17]), table=True, notes_sheet="always")
    parts = set(made.parts())
    types = ElementTree.fromstring(made.part("[Content_Types].xml"))
    overrides = {node.attrib["PartName"].lstrip("/") for node in types if "PartName" in node.attrib}
    assert {part for part in parts if part.endswith(".xml")} - {"[Content_Types].xml"} == overrides
    for part in (part for part in parts if part.endswith(".rels")):
        folder = part.replace("_rels/", "").rpartition("/")[0]
        for node in ElementTree.fromstring(made.part(part)):
            target = f"{folder}/{node.attrib['Target']}".lstrip("/")
            while ".." in target:
                target = re.sub(r"[^/]+/\.\./", "", target, count=1)
            assert target in parts


def test_every_cell_has_its_reference() -> None:
    made = workbook(pa.record_batch([pa.array([1, 2])] * 30, names=[f"c{i}" for i in range(30)]))
    assert {"A1", "Z1", "AA1", "AD3"} <= cells(made).keys()
    assert len(cells(made)) == 90


def test_compact_leaves_references_out_and_reads_the_same() -> None:
    batch = table(a=[None, None, 2], b=["x", None, None], c=[None, None, None])
    made = workbook(batch, compact=True)
    assert ' r="' not in made.part(SHEET)
    assert openpyxl_rows(made) == openpyxl_rows(workbook(batch))


def test_no_rows_make_a_valid_file_with_its_header() -> None:
    for given in ({}, {"table": True}, {"autofilter": True}, {"compact": True}):
        made = workbook(table(a=[1], b=["x"]).slice(0, 0), **given)
        assert [row for row in openpyxl_rows(made) if any(row)] == [["a", "b"]]


def test_no_columns_make_an_empty_sheet() -> None:
    for given in ({}, {"table": True}, {"autofilter": True, "start_row": 2}):
        assert openpyxl_rows(workbook(pa.record_batch([], schema=pa.schema([])), **given)) == []


def test_the_header_is_bold_and_stays_in_view() -> None:
    sheet = book(workbook(table(a=[1]))).worksheets[0]
    assert sheet["A1"].font.b
    assert not sheet["A2"].font.b
    assert sheet.freeze_panes == "A2"


def test_the_header_can_be_left_out_or_unfrozen() -> None:
    assert book(workbook(table(a=[1]), freeze_header=False)).worksheets[0].freeze_panes is None
    without = workbook(table(a=[1]), header=False)
    assert book(without).worksheets[0].freeze_panes is None
    assert openpyxl_rows(without) == [[1]]


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("header", [False, True])
def test_start_row_leaves_rows_above_empty(compact: bool, header: bool) -> None:
    made = workbook(table(a=[7]), start_row=4, header=header, compact=compact)
    assert openpyxl_rows(made) == [[None]] * 3 + ([["a"]] if header else []) + [[7]]


@pytest.mark.parametrize("row", [0, -1, ROWS_MAX, ROWS_MAX + 5])
def test_a_start_row_without_space_for_data_is_refused(row: int) -> None:
    with pytest.raises(Refused, match="start_row"):
        workbook(table(a=[1]), start_row=row)


def test_data_rows_max_counts_what_stands_above() -> None:
    assert data_rows_max(XlsxOptions()) == ROWS_MAX - 1
    assert data_rows_max(XlsxOptions(header=False)) == ROWS_MAX
    assert data_rows_max(XlsxOptions(start_row=11)) == ROWS_MAX - 11


def test_repeated_and_empty_names_are_renamed_and_reported() -> None:
    made = workbook(names("a", "a", "", "A"))
    assert openpyxl_rows(made)[0] == ["a", "a_1", "column_3", "A"]
    assert made.reported == {("column_renamed", "a_1"): 1, ("column_renamed", "column_3"): 1}


def test_more_columns_than_a_sheet_has_are_refused_before_the_first_row() -> None:
    schema = pa.schema([(f"c{i}", pa.int8()) for i in range(COLUMNS_MAX + 1)])
    pulled = []

    def batches() -> Any:
        pulled.append(1)
        yield pa.record_batch([pa.array([1], pa.int8())] * len(schema), schema=schema)

    with pytest.raises(Refused, match="16,384"):
        next(XlsxEncoder(XlsxOptions(), Findings()).encode(schema, batches()))
    assert not pulled


@pytest.mark.slow
def test_as_many_columns_as_a_sheet_has_are_written() -> None:
    batch = pa.record_batch([pa.array([1], pa.int8())] * COLUMNS_MAX, names=[f"c{i}" for i in range(COLUMNS_MAX)])
    assert cells(workbook(batch))["XFD2"].text == "1"


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("Users", "Users"),
        ("a/b:c*d?e[f]g\\h", "a_b_c_d_e_f_g_h"),
        ("'quoted'", "quoted"),
        ("x" * 40, "x" * 31),
        ("😀" * 20, "😀" * 15),
        ("", "Sheet1"),
        ("History", "History_"),
        ('<&">', '<&">'),
    ],
)
def test_sheet_names_are_corrected_and_reported(wanted: str, name: str) -> None:
    made = workbook(table(a=[1]), sheet_name=wanted, notes_sheet="never")
    assert book(made).sheetnames == [name]
    assert made.reported == ({} if wanted == name else {("sheet_renamed", None): 1})


def test_autofilter_covers_header_and_rows() -> None:
    made = workbook(table(a=[1, 2], b=[3, 4]), autofilter=True, sheet_name="it's", start_row=2)
    assert book(made).worksheets[0].auto_filter.ref == "A2:B4"
    assert "'it''s'!$A$2:$B$4" in made.part("xl/workbook.xml")


def test_a_table_has_the_names_of_the_header_cells() -> None:
    made = workbook(names("a", "A", "line\nbreak", "x" * 300, '<"&>', "_x0041_"), table=True, autofilter=True)
    header = [decoded(cells(made)[f"{letter}1"].text) for letter in "ABCDEF"]
    root = ElementTree.fromstring(made.part("xl/tables/table1.xml"))
    listed = [decoded(node.attrib["name"]) for node in root.iter(f"{NS}tableColumn")]
    assert header == listed == ["a", "A_1", "line\nbreak", "x" * 255, '<"&>', "_x0041_"]
    assert root.attrib["ref"] == "A1:F2"
    assert "autoFilter" not in made.part(SHEET)


def test_a_table_without_rows_has_one_empty_row_as_excel_wants() -> None:
    made = workbook(table(a=[1]).slice(0, 0), table=True)
    assert book(made).worksheets[0].tables["Table1"].ref == "A1:A2"


def test_a_table_needs_the_header() -> None:
    with pytest.raises(Refused, match="header"):
        workbook(table(a=[1]), table=True, header=False)


def test_widths_come_from_metadata_else_from_type_and_header() -> None:
    schema = pa.schema([
        pa.field("a", pa.int64(), metadata={FIELD_WIDTH: b"33.5"}),
        pa.field("b", pa.timestamp("s")),
        pa.field("a long name of a column", pa.bool_()),
    ])  # fmt: skip
    made = workbook(pa.record_batch([pa.array([], f.type) for f in schema], schema=schema))
    widths = [float(node.attrib["width"]) for node in ElementTree.fromstring(made.part(SHEET)).iter(f"{NS}col")]
    assert widths == [33.5, 20, 26]


@pytest.mark.parametrize(
    ("kind", "given", "longest"),
    [
        (pa.int8(), {}, "-128"),
        (pa.int64(), {}, "-9223372036854775808"),
        (pa.uint64(), {}, "18446744073709551615"),
        (pa.decimal128(12, 2), {}, "-9999999999.99"),
        (pa.decimal256(65, 30), {}, f"-{'9' * 35}.{'9' * 30}"),
        (pa.timestamp("s"), {}, "2026-12-31 23:59:59"),
        (pa.timestamp("us"), {}, "2026-12-31 23:59:59.999"),
        (pa.timestamp("us"), {"datetime_format": "%A, %d. %B %Y %H:%M"}, "Wednesday, 30. September 2026 23:59"),
        (pa.date32(), {"date_format": "%d %B %Y"}, "30 September 2026"),
        (pa.duration("us"), {}, "838:59:59.999"),
        (pa.bool_(), {"true_value": "confirmed", "false_value": "no"}, "confirmed"),
    ],
)
def test_a_column_is_as_wide_as_the_longest_value_of_its_type(kind: pa.DataType, given: Any, longest: str) -> None:
    assert _width(workbook(column([], kind), **given)) >= len(longest) + 1


@pytest.mark.parametrize(
    ("code", "kind", "longest"),
    [
        (b'#,##0.00 "EUR"', pa.decimal128(12, 2), "-9,999,999,999.99 EUR"),
        (b"[Red]0.0%", pa.int32(), "-2147483648.0%"),
        (b"[$CHF-807] 0;-0", pa.int16(), "CHF -32768"),
        (rb"dd\.mm\.yy", pa.date32(), "31.12.26"),
    ],
)
def test_a_column_is_wide_enough_for_a_format_of_its_own(code: bytes, kind: pa.DataType, longest: str) -> None:
    assert _width(workbook(column([], kind, metadata={FIELD_FORMAT: code}))) >= len(longest) + 1


@pytest.mark.parametrize(("type_name", "longest"), [("uuid", 36), ("INET6", 39), ("inet", 43), ("varchar", 19)])
def test_text_of_a_type_of_known_length_is_seen_whole(type_name: str, longest: int) -> None:
    assert _width(workbook(column([], pa.string(), metadata={FIELD_TYPE: type_name.encode()}))) == longest + 1


def _width(made: Made) -> float:
    return float(next(ElementTree.fromstring(made.part(SHEET)).iter(f"{NS}col")).attrib["width"])


def test_names_stand_where_their_values_do() -> None:
    """On the right over numbers, dates and numbers as text; not where a filter's button would cover them."""
    columns = {"n": pa.array([1]), "d": pa.array([dt.date(2026, 1, 1)]), "s": pa.array(["a"]), "b": pa.array([True])}
    fields = [pa.field(name, array.type) for name, array in columns.items()]
    fields.append(pa.field("id", pa.int64(), metadata={FIELD_AS_TEXT: b"1"}))
    batch = pa.record_batch([*columns.values(), pa.array([1])], pa.schema(fields))
    for given, right in (({}, {"A1", "B1", "E1"}), ({"table": True}, set()), ({"autofilter": True}, set())):
        header = {ref: cell for ref, cell in cells(workbook(batch, **given)).items() if ref[1:] == "1"}
        assert {ref for ref, cell in header.items() if cell.style[2] == "right"} == right
        assert [cell.text for cell in header.values()] == batch.schema.names


def test_a_number_written_as_text_shrinks_before_it_is_cut() -> None:
    """Truncated on the left it would read as another number."""
    made = workbook(column([2**64 - 1], pa.uint64()))
    root = ElementTree.fromstring(made.part("xl/styles.xml"))
    aligned = [node.attrib for node in root.iter(f"{NS}alignment")]
    assert {"horizontal": "right", "shrinkToFit": "1"} in aligned


@pytest.mark.parametrize("width", [b"wide", b"-1", b"256", b"nan"])
def test_an_impossible_width_is_refused(width: bytes) -> None:
    with pytest.raises(Refused, match="width"):
        workbook(column([1], pa.int8(), metadata={FIELD_WIDTH: width}))


@pytest.mark.parametrize("code", ["0.00", "#,##0", '0.0"%"', "dd.mm.yyyy", "[Red]-0;0", "0.00%"])
def test_a_columns_own_number_format_is_used(code: str) -> None:
    made = workbook(column([1], pa.int8(), metadata={FIELD_FORMAT: code.encode()}))
    assert cells(made)["A2"].style[0] == code


@pytest.mark.parametrize("code", ['"open', "[h:mm", "0;0;0;0;0", "0" * 256, "a\nb", "]["])
def test_a_number_format_that_excel_would_repair_is_refused(code: str) -> None:
    with pytest.raises(Refused, match="number format"):
        workbook(column([1], pa.int8(), metadata={FIELD_FORMAT: code.encode()}))


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ("%Y-%m-%d %H:%M:%S", r"yyyy\-mm\-dd\ hh:mm:ss"),
        ("%d.%m.%Y", r"dd\.mm\.yyyy"),
        ("%m/%d/%y %I:%M %p", r"mm\/dd\/yy\ hh:mm\ AM/PM"),
        ("%-d. %B %Y, %H h", r"d\.\ mmmm\ yyyy\,\ hh\ \h"),
        ("%F %T.%f", r"yyyy\-mm\-dd\ hh:mm:ss\.000"),
        ("%Y%%", r"yyyy\%"),
        ("rfc3339", r"yyyy\-mm\-dd\Thh:mm:ss.000"),
    ],
)
def test_strftime_patterns_become_number_formats(pattern: str, code: str) -> None:
    moment = dt.datetime(2024, 2, 29, 13, 5, 7)
    made = workbook(column([moment], pa.timestamp("s")), datetime_format=pattern)
    assert cells(made)["A2"].style[0] == code
    assert openpyxl_rows(made)[1] == [moment]
    own = workbook(column([moment], pa.timestamp("s"), metadata={FIELD_FORMAT: pattern.encode()}))
    assert cells(own)["A2"].style[0] == code or pattern == "rfc3339"


@pytest.mark.parametrize("pattern", ["%j", "%H:%m", "%Y-%M-%d", "%I:%M", "%H:%M %p", "%f", "%s", "%Y\n", "%Q", "%Y.%f"])
def test_patterns_that_excel_cannot_show_are_refused(pattern: str) -> None:
    for option in ("datetime_format", "date_format"):
        kind = pa.timestamp("s") if option == "datetime_format" else pa.date32()
        with pytest.raises(Refused):
            workbook(column([None], kind), **{option: pattern})


def test_a_locale_gives_the_order_of_the_date() -> None:
    code = cells(workbook(column([dt.date(2024, 2, 29)], pa.date32()), locale="de-DE"))["A2"].style[0]
    assert code.replace("\\", "") in ("dd.mm.yyyy", "dd.mm.yy")


def test_the_notes_sheet_lists_changes_if_there_are_any() -> None:
    changed = workbook(table(a=[1.5, float("nan")], b=["x\r\ny", ""]))
    assert book(changed).sheetnames == ["Sheet1", "Notes"]
    assert [row[0] for row in openpyxl_rows(changed, 1)] == [
        "What was changed in the data",
        "column 'b': line breaks inside cells were changed to LF (1)",
        "column 'a': NaN or infinity was written as empty (1)",
    ]
    assert book(workbook(table(a=[1]))).sheetnames == ["Sheet1"]


def test_notes_can_be_always_or_never() -> None:
    always = workbook(table(a=[1]), notes_sheet="always", sheet_name="notes")
    assert book(always).sheetnames == ["notes", "Notes (2)"]
    assert openpyxl_rows(always, 1)[1] == ["Nothing was changed."]
    assert book(workbook(table(a=[10**17]), notes_sheet="never")).sheetnames == ["Sheet1"]
