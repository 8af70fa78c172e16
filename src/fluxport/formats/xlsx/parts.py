"""The small parts of a workbook as XML, with elements in the order of the schema (ECMA-376).

Their content depends only on the arguments: no date, no host, no library version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fluxport.formats.xlsx.celltext import attributes
from fluxport.formats.xlsx.numfmt import GENERAL
from fluxport.formats.xlsx.options import ROWS_MAX

_DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_SPREADSHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_FIRST_CUSTOM_FORMAT = 164


@dataclass
class Styles:
    """The cell styles of a workbook without duplicates; ``style`` returns the index that cells refer to."""

    _formats: dict[str, int] = field(default_factory=dict)
    _styles: dict[tuple[str, bool, bool, bool], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.style()

    def style(self, code: str = GENERAL, *, bold: bool = False, right: bool = False, quoted: bool = False) -> int:
        """``code`` is a number format; ``quoted`` prevents text from becoming a formula. ``right`` aligns to the right
        and, unless ``bold``, shrinks text to fit: a number written as text would look like another one if cut off."""
        if code != GENERAL:
            self._formats.setdefault(code, _FIRST_CUSTOM_FORMAT + len(self._formats))
        return self._styles.setdefault((code, bold, right, quoted), len(self._styles))

    def xml(self) -> bytes:
        codes = zip(self._formats.values(), attributes(list(self._formats)), strict=True)
        formats = "".join(f'<numFmt numFmtId="{number}" formatCode="{code}"/>' for number, code in codes)
        counted = f'<numFmts count="{len(self._formats)}">{formats}</numFmts>' if formats else ""
        font = '<sz val="11"/><name val="Calibri"/><family val="2"/>'
        cells = "".join(self._xf(*key) for key in self._styles)
        return _part(
            f'<styleSheet xmlns="{_MAIN}">{counted}'
            f'<fonts count="2"><font>{font}</font><font><b/>{font}</font></fonts>'
            '<fills count="2"><fill><patternFill patternType="none"/></fill>'
            '<fill><patternFill patternType="gray125"/></fill></fills>'
            '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
            '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
            f'<cellXfs count="{len(self._styles)}">{cells}</cellXfs>'
            '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
        )

    def _xf(self, code: str, bold: bool, right: bool, quoted: bool) -> str:
        number = self._formats.get(code, 0)
        attributes = f'numFmtId="{number}" fontId="{int(bold)}" fillId="0" borderId="0" xfId="0"'
        for wanted, attribute in (
            (quoted, "quotePrefix"), (number, "applyNumberFormat"), (bold, "applyFont"), (right, "applyAlignment"),
        ):  # fmt: skip
            attributes += f' {attribute}="1"' if wanted else ""
        if not right:
            return f"<xf {attributes}/>"
        shrink = "" if bold else ' shrinkToFit="1"'
        return f'<xf {attributes}><alignment horizontal="right"{shrink}/></xf>'


@dataclass
class SheetPart:
    """A finished sheet as the workbook describes it. ``filtered`` and ``table`` are cell ranges."""

    number: int
    name: str
    filtered: str | None = None
    table: str | None = None

    @property
    def path(self) -> str:
        return f"xl/worksheets/sheet{self.number}.xml"


def sheet_start(widths: Sequence[float], frozen_rows: int, *, selected: bool) -> bytes:
    """The XML before the rows; the first ``frozen_rows`` stay visible."""
    pane = (
        f'<pane ySplit="{frozen_rows}" topLeftCell="A{frozen_rows + 1}" activePane="bottomLeft" state="frozen"/>'
        '<selection pane="bottomLeft"/>'
        if 0 < frozen_rows < ROWS_MAX
        else ""
    )
    tab = ' tabSelected="1"' if selected else ""
    columns = "".join(
        f'<col min="{i}" max="{i}" width="{width:g}" customWidth="1"/>' for i, width in enumerate(widths, 1)
    )
    return _part(
        f'<worksheet xmlns="{_MAIN}" xmlns:r="{_RELATIONS}">'
        f'<sheetViews><sheetView{tab} workbookViewId="0">{pane}</sheetView></sheetViews>'
        f'<sheetFormatPr defaultRowHeight="15"/>{f"<cols>{columns}</cols>" if columns else ""}<sheetData>'
    )


def sheet_end(sheet: SheetPart, cells: str | None) -> bytes:
    """The XML after the rows. Numbers stored as text in ``cells`` are intended, so Excel shows no warnings."""
    end = "</sheetData>"
    if sheet.filtered:
        end += f'<autoFilter ref="{sheet.filtered}"/>'
    end += '<pageMargins left="0.7" right="0.7" top="0.75" bottom="0.75" header="0.3" footer="0.3"/>'
    if cells:
        end += f'<ignoredErrors><ignoredError sqref="{cells}" numberStoredAsText="1"/></ignoredErrors>'
    if sheet.table:
        end += '<tableParts count="1"><tablePart r:id="rId1"/></tableParts>'
    return f"{end}</worksheet>".encode()


def table(sheet: SheetPart, columns: Sequence[str]) -> bytes:
    """The table of a sheet; ``columns`` are its header cells, which Excel compares."""
    listed = "".join(f'<tableColumn id="{i}" name="{name}"/>' for i, name in enumerate(attributes(columns), 1))
    name = f"Table{sheet.number}"
    return _part(
        f'<table xmlns="{_MAIN}" id="{sheet.number}" name="{name}" displayName="{name}" ref="{sheet.table}" '
        f'totalsRowShown="0"><autoFilter ref="{sheet.table}"/>'
        f'<tableColumns count="{len(columns)}">{listed}</tableColumns>'
        '<tableStyleInfo name="TableStyleMedium2" showFirstColumn="0" showLastColumn="0" showRowStripes="1" '
        'showColumnStripes="0"/></table>'
    )


def opening_parts(styles: Styles) -> dict[str, bytes]:
    """Parts before the sheets, in this order: `file` recognizes an Excel workbook by the first names."""
    relations = [
        (f"{_RELATIONS}/officeDocument", "xl/workbook.xml"),
        (f"{_PACKAGE}/relationships/metadata/core-properties", "docProps/core.xml"),
        (f"{_RELATIONS}/extended-properties", "docProps/app.xml"),
    ]
    return {
        "_rels/.rels": relationships(relations),
        "docProps/app.xml": _part(
            '<Properties xmlns="http://schemas.openxmlformats.org/officeDocument/2006/extended-properties">'
            "<Application>Fluxport</Application></Properties>"
        ),
        "xl/styles.xml": styles.xml(),
        "docProps/core.xml": _part(
            f'<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties" '
            'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator>Fluxport</dc:creator></cp:coreProperties>'
        ),
    }


def closing_parts(sheets: Sequence[SheetPart]) -> dict[str, bytes]:
    """Parts that depend on all sheets."""
    relations = [(f"{_RELATIONS}/worksheet", f"worksheets/sheet{sheet.number}.xml") for sheet in sheets]
    return {
        "xl/workbook.xml": _workbook(sheets),
        "xl/_rels/workbook.xml.rels": relationships([*relations, (f"{_RELATIONS}/styles", "styles.xml")]),
        "[Content_Types].xml": _content_types(sheets),
    }


def table_parts(sheet: SheetPart, columns: Sequence[str]) -> dict[str, bytes]:
    target = f"../tables/table{sheet.number}.xml"
    return {
        f"xl/worksheets/_rels/sheet{sheet.number}.xml.rels": relationships([(f"{_RELATIONS}/table", target)]),
        f"xl/tables/table{sheet.number}.xml": table(sheet, columns),
    }


def relationships(targets: Sequence[tuple[str, str]]) -> bytes:
    listed = "".join(
        f'<Relationship Id="rId{i}" Type="{kind}" Target="{target}"/>' for i, (kind, target) in enumerate(targets, 1)
    )
    return _part(f'<Relationships xmlns="{_PACKAGE}/relationships">{listed}</Relationships>')


def _workbook(sheets: Sequence[SheetPart]) -> bytes:
    listed = "".join(
        f'<sheet name="{name}" sheetId="{number}" r:id="rId{number}"/>'
        for number, name in enumerate(attributes([sheet.name for sheet in sheets]), 1)
    )
    names = "".join(
        f'<definedName name="_xlnm._FilterDatabase" localSheetId="{i}" hidden="1">{_absolute(sheet)}</definedName>'
        for i, sheet in enumerate(sheets)
        if sheet.filtered
    )
    return _part(
        f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><workbookPr/>'
        f'<bookViews><workbookView xWindow="0" yWindow="0" windowWidth="24000" windowHeight="12000"/></bookViews>'
        f"<sheets>{listed}</sheets>{f'<definedNames>{names}</definedNames>' if names else ''}</workbook>"
    )


def _absolute(sheet: SheetPart) -> str:
    """``'Sheet1'!$A$1:$C$9`` for the filtered range ``A1:C9``."""
    corners = []
    for corner in (sheet.filtered or "").split(":"):
        letters = corner.rstrip("0123456789")
        corners.append(f"${letters}${corner[len(letters) :]}")
    quoted = sheet.name.replace("'", "''")
    return attributes([f"'{quoted}'!{':'.join(corners)}"])[0]


def _content_types(sheets: Sequence[SheetPart]) -> bytes:
    package = "application/vnd.openxmlformats-package"
    parts = [("xl/workbook.xml", f"{_SPREADSHEET}.sheet.main+xml"), ("xl/styles.xml", f"{_SPREADSHEET}.styles+xml")]
    parts += [(sheet.path, f"{_SPREADSHEET}.worksheet+xml") for sheet in sheets]
    parts += [(f"xl/tables/table{sheet.number}.xml", f"{_SPREADSHEET}.table+xml") for sheet in sheets if sheet.table]
    parts += [("docProps/core.xml", f"{package}.core-properties+xml")]
    parts += [("docProps/app.xml", "application/vnd.openxmlformats-officedocument.extended-properties+xml")]
    listed = "".join(f'<Override PartName="/{path}" ContentType="{kind}"/>' for path, kind in parts)
    return _part(
        f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
        f'ContentType="{package}.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>'
        f"{listed}</Types>"
    )


def _part(xml: str) -> bytes:
    return (_DECLARATION + xml).encode()
