"""What a locale fills, from CLDR."""

from __future__ import annotations

import datetime
import re
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
from babel import localedata

from fluxport import formats
from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.formats.locale import locale_options
from fluxport.stages import Batches
from services import require_program


@pytest.mark.parametrize(
    ("tag", "decimal", "delimiter", "date"),
    [
        ("de-DE", ",", ";", "31.01.2026"),
        ("de-CH", ".", ",", "31.01.2026"),
        ("en-US", ".", ",", "01/31/2026"),
        ("en-GB", ".", ",", "31/01/2026"),
        ("fr-FR", ",", ";", "31/01/2026"),
        ("pt-BR", ",", ";", "31/01/2026"),
        ("sv-SE", ",", ";", "2026-01-31"),
        ("zh-Hans-CN", ".", ",", "2026/01/31"),
        ("zh-CN", ".", ",", "2026/01/31"),
        ("bg-BG", ",", ";", "31.01.2026"),
        ("ar-EG", ".", ",", "31/01/2026"),
    ],
)
def test_signs_and_order_are_those_of_the_locale(tag: str, decimal: str, delimiter: str, date: str) -> None:
    """Decimal sign, delimiter, and a numeric date with a four-digit year; times have 24 hours."""
    options = locale_options(tag)
    moment = datetime.datetime(2026, 1, 31, 23, 59, 58)
    assert options["decimal_separator"] == decimal
    assert options["delimiter"] == delimiter
    assert moment.strftime(options["date_format"]) == date
    assert moment.strftime(options["datetime_format"]) == f"{date} 23:59:58"


@pytest.mark.slow
def test_no_locale_makes_a_delimiter_of_its_decimal_sign_or_a_date_that_cannot_be_read_back() -> None:
    """Over every locale of CLDR."""
    moment = datetime.datetime(2026, 1, 31, 23, 59, 58)
    for name in localedata.locale_identifiers():
        options = locale_options(name.replace("_", "-"))
        assert options["delimiter"] != options["decimal_separator"], name
        text = moment.strftime(options["datetime_format"])
        assert text.isascii(), name
        assert datetime.datetime.strptime(text, options["datetime_format"]) == moment, name


@pytest.mark.parametrize("tag", ["", "de_DE", "xx-YY", "german", "de-DE-u-nu-arab", "../de", "de-XX"])
def test_an_unknown_tag_is_refused_with_the_form(tag: str) -> None:
    """No similar tag is used instead."""
    with pytest.raises(Refused, match="such as de-DE, pt-BR or zh-Hans-CN") as caught:
        locale_options(tag)
    assert caught.value.code == "unknown_locale"


def test_a_spreadsheet_in_the_locale_reads_numbers_and_dates_back_as_such(tmp_path: Path) -> None:
    """LibreOffice in each language reads every cell as the number, date or timestamp that it was."""
    soffice = require_program("soffice")
    moment = datetime.datetime(2026, 1, 31, 23, 59, 58)
    batch = pa.record_batch(
        {
            "number": pa.array([-1234567.5]),
            "date": pa.array([moment.date()]),
            "moment": pa.array([moment], pa.timestamp("s")),
        }
    )

    def batches() -> Batches:
        yield batch

    for tag, language in (("de-DE", 1031), ("en-US", 1033), ("fr-FR", 1036), ("sv-SE", 1053)):
        options = formats.options("csv", {"locale": tag})
        path = tmp_path / f"{tag}.csv"
        path.write_bytes(b"".join(formats.encoder("csv", options, Findings()).encode(batch.schema, batches())))
        delimiter = ord(locale_options(tag)["delimiter"])
        command = [soffice, f"-env:UserInstallation=file://{tmp_path}/profile", "--headless", "--convert-to", "fods"]
        command += [f"--infilter=CSV:{delimiter},34,76,1,,{language},false,true", "--outdir", str(tmp_path), str(path)]
        subprocess.run(command, capture_output=True, check=True, timeout=120)
        cells = re.findall(r'office:(?:date-)?value="([^"]*)"', path.with_suffix(".fods").read_text())
        assert cells == ["-1234567.5", "2026-01-31", "2026-01-31T23:59:58"], tag
