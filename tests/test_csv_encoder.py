"""CSV and TSV: one test for each trap and each option."""

from __future__ import annotations

import codecs
import datetime as dt
import inspect
import math
import threading
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport import formats
from fluxport.errors import LimitExceeded, Refused, Unavailable
from fluxport.findings import Findings
from fluxport.formats._rows import in_order
from fluxport.formats.csv import CsvEncoder, CsvOptions
from fluxport.stages import Batches
from fluxport.testing.formats import encoded
from text_support import TIME, column, pieces, written


def test_null_is_nothing_and_the_empty_string_is_quoted() -> None:
    assert written("csv", column(None, "", "a")).text == 'a,n\n,0\n"",1\na,2\n'


def test_a_value_that_reads_like_the_null_text_is_quoted() -> None:
    made = written("csv", column(None, "NULL", "", "null"), null_value="NULL")
    assert made.text == 'a,n\nNULL,0\n"NULL",1\n"",2\nnull,3\n'
    numbers = written("csv", column(None, 0, 1), null_value="0")
    assert numbers.text == 'a,n\n0,"0"\n"0",1\n1,2\n'


def test_a_lone_null_is_quoted_and_reported() -> None:
    made = written("csv", pa.table({"a": ["x", None, "", None]}))
    assert made.text == 'a\nx\n""\n""\n""\n'
    assert made.reported == {("lone_null_quoted", "a"): 2}
    assert written("csv", pa.table({"a": ["x", None]}), null_value="NULL") == (b"a\nx\nNULL\n", {})
    assert written("csv", pa.table({"a": pa.array([None, 1])}), quoting="all").text == '"a"\n""\n"1"\n'


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("a,b", '"a,b"'),
        ('say "so"', '"say ""so"""'),
        ('"', '""""'),
        ("a\nb", '"a\nb"'),
        ("a\r\nb", '"a\r\nb"'),
        ("\r", '"\r"'),
        (" a ", " a "),
        ("a;b\tc|d'e", "a;b\tc|d'e"),
        ("007", "007"),
        ("1E5", "1E5"),
        ("=1+1", "=1+1"),
        ("é🙂\N{ZERO WIDTH SPACE}", "é🙂\N{ZERO WIDTH SPACE}"),
        ("\0\x01\x7f", "\0\x01\x7f"),
    ],
)
def test_a_cell_is_quoted_where_it_must_be(value: str, cell: str) -> None:
    # Rows without anything special before and after: those must not change.
    assert written("csv", column("x", value, None, "y")).text == f"a,n\nx,0\n{cell},1\n,2\ny,3\n"


def test_quoting_all_quotes_every_value_but_null() -> None:
    table = pa.table({"a": ["x", None, 'q"', ""], "n": pa.array([1, None, 2, 3]), "b": [True, None, False, True]})
    assert written("csv", table, quoting="all").text == (
        '"a","n","b"\n"x","1","true"\n,,\n"q""","2","false"\n"","3","true"\n'
    )


def test_quoting_nonnumeric_leaves_numbers_bare() -> None:
    table = pa.table(
        {"a": ["x", None], "n": [1, 2], "f": [0.5, math.nan], "d": [Decimal("1.50"), None], "b": [True, None]}
    )
    table = table.append_column("t", pa.array([dt.date(2026, 1, 31), None]))
    assert written("csv", table, quoting="nonnumeric").text == (
        '"a","n","f","d","b","t"\n"x",1,0.5,1.50,"true","2026-01-31"\n,2,NaN,,,\n'
    )


def test_line_ends_are_those_requested_and_cells_retain_theirs() -> None:
    made = written("csv", column("a\nb", "x"), line_ending="crlf")
    assert made.data == b'a,n\r\n"a\nb",0\r\nx,1\r\n'


def test_a_byte_order_mark_and_a_sep_line_come_first() -> None:
    made = written("csv", column("x"), bom=True, sep_line=True, delimiter=";")
    assert made.data == codecs.BOM_UTF8 + b"sep=;\na;n\nx;0\n"


def test_no_header_and_no_rows_are_files_too() -> None:
    empty = column("x").slice(0, 0)
    assert written("csv", empty).text == "a,n\n"
    assert written("csv", empty, header=False).text == ""
    assert written("csv", column("x"), header=False).text == "x,0\n"


def test_header_names_are_quoted_like_cells_and_may_repeat() -> None:
    table = pa.table([pa.array([1])] * 5, names=["a", "a", "b,c", 'd"e', ""])
    assert written("csv", table).text == 'a,a,"b,c","d""e",\n1,1,1,1,1\n'
    assert written("csv", pa.table([pa.array([1])], names=[""])).text == '""\n1\n'


def test_a_decimal_comma_beside_a_comma_is_quoted() -> None:
    table = pa.table({"f": [0.5, 2.0], "d": pa.array([Decimal("1.5"), None], pa.decimal128(5, 1)), "n": [1, 2]})
    assert written("csv", table, decimal_separator=",").text == 'f,d,n\n"0,5","1,5",1\n2,,2\n'
    assert written("csv", table, decimal_separator=",", delimiter=";").text == "f;d;n\n0,5;1,5;1\n2;;2\n"


def test_grouped_numbers_are_quoted_where_the_group_sign_is_the_delimiter() -> None:
    assert written("csv", column(1234567), grouping_separator=",").text == 'a,n\n"1,234,567",0\n'


def test_dates_that_hold_the_delimiter_are_quoted() -> None:
    table = column(dt.datetime(2026, 1, 31, 23, 59), None, kind=pa.timestamp("s"))
    assert written("csv", table, datetime_format="%d %b, %H:%M").text == 'a,n\n"31 Jan, 23:59",0\n,1\n'
    assert written("csv", table, delimiter=" ").text == 'a n\n"2026-01-31 23:59:00" 0\n 1\n'
    assert written("csv", table, delimiter=":").text == 'a:n\n"2026-01-31 23:59:00":0\n:1\n'


def test_words_for_booleans_and_a_form_for_binary() -> None:
    table = pa.table({"b": [True, False, None], "x": [b"\xff\x00", b"", None]})
    assert written("csv", table).text == 'b,x\ntrue,ff00\nfalse,""\n,\n'
    assert written("csv", table, true_value="a,b", false_value="", binary="base64").text == (
        'b,x\n"a,b",/wA=\n"",""\n,\n'
    )


def test_nested_values_and_times_are_text() -> None:
    lists = column([1, None], None, kind=pa.list_(pa.int8()))
    assert written("csv", lists).text == 'a,n\n"[1,null]",0\n,1\n'
    times = column(-3_020_399, 5, kind=pa.duration("s"), metadata=TIME)
    assert written("csv", times).text == "a,n\n-838:59:59,0\n00:00:05,1\n"


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        ("machine", "a,f\n2026-01-31T23:59:59.000000,0.5\n"),
        ("excel", "\ufeffa,f\r\n2026-01-31 23:59:59,0.5\r\n"),
        ("excel-eu", "\ufeffa;f\r\n2026-01-31 23:59:59;0,5\r\n"),
        ("rfc4180", "a,f\r\n2026-01-31 23:59:59.000000,0.5\r\n"),
    ],
)
def test_profiles_are_sets_of_options(profile: str, text: str) -> None:
    table = pa.table({"a": pa.array([dt.datetime(2026, 1, 31, 23, 59, 59)], pa.timestamp("us")), "f": [0.5]})
    assert written("csv", table, profile=profile).text == text


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_an_omitted_fraction_of_a_second_is_reported(name: str) -> None:
    moments = [dt.datetime(2026, 1, 31), dt.datetime(2026, 1, 31, 23, 59, 59, 1), dt.datetime(1969, 1, 1, 0, 0, 0, 9)]
    table = column(*moments, None, kind=pa.timestamp("us"))
    hiding: list[dict[str, Any]] = [{"profile": "excel"}, {"locale": "de-DE"}, {"datetime_format": "%H%%f"}]
    for options in hiding:
        assert written(name, table, [1], **options).reported == {("fraction_left_out", "a"): 2}
    showing: list[dict[str, Any]] = [{}, {"profile": "machine"}, {"datetime_format": "%H:%M:%S.%f"}]
    for options in showing:
        assert written(name, table, **options).reported == {}
    whole = column(dt.datetime(2026, 1, 31, 23, 59, 59), kind=pa.timestamp("s"))
    assert written(name, whole, profile="excel").reported == {}


def test_tsv_is_separated_by_tabs_whatever_the_profile() -> None:
    made = written("tsv", column("a\tb", "c,d"), profile="excel-eu")
    assert made.text == '\ufeffa\tn\r\n"a\tb"\t0\r\nc,d\t1\r\n'
    with pytest.raises(Refused, match="delimiter"):
        formats.options("tsv", {"delimiter": ";"})


def test_a_locale_fills_what_its_spreadsheets_read() -> None:
    table = pa.table({"d": [dt.date(2026, 1, 31)], "f": [0.5]})
    assert written("csv", table, locale="de-DE").text == "d;f\n31.01.2026;0,5\n"


@pytest.mark.parametrize(
    "encoding", ["latin-1", "cp1252", "utf-16", "utf-16-be", "utf-32", "utf-8-sig", "shift_jis", "gb18030"]
)
def test_an_encoding_is_that_of_python_in_one_piece(encoding: str) -> None:
    text = "aß" if encoding in ("latin-1", "cp1252") else "aあ"
    table = column(*[text, "x", None] * 10)
    plain = written("csv", table).text
    assert written("csv", table, (1, 7, 1), encoding=encoding).data == plain.encode(encoding)


@pytest.mark.parametrize("encoding", ["iso2022_jp", "utf-7", "hz"])
def test_an_encoding_with_states_reads_back(encoding: str) -> None:
    table = column(*["aあ", "x", None] * 10)
    data = written("csv", table, (1, 7, 1), encoding=encoding).data
    assert data.decode(encoding) == written("csv", table).text
    assert data == written("csv", table, encoding=encoding).data


def test_a_byte_order_mark_is_left_out_where_the_encoding_has_none() -> None:
    assert written("csv", column("ß"), encoding="cp1252", bom=True).data == b"a,n\n\xdf,0\n"
    assert written("csv", column("x"), encoding="utf-16-le", bom=True).data.startswith(codecs.BOM_UTF16_LE + b"a\0")
    assert written("csv", column("x"), encoding="utf-8-sig", bom=True).data == codecs.BOM_UTF8 + b"a,n\nx,0\n"


def test_a_character_that_the_encoding_does_not_have_is_refused_with_its_column() -> None:
    table = pa.table({"ok": ["ä", "b"], "name": ["c", "łódź"]})
    with pytest.raises(Refused, match=r"'name'.*cp1252.*encoding_errors"):
        written("csv", table, encoding="cp1252")
    with pytest.raises(Refused, match="'ł'"):
        written("csv", pa.table({"ł": ["x"]}), encoding="cp1252")


def test_replaced_characters_are_counted_by_column() -> None:
    table = pa.table({"ok": ["ä", "b"], "name": ["łł", "ś€"]})
    made = written("csv", table, encoding="cp1252", encoding_errors="replace")
    assert made.data == b"ok,name\n\xe4,??\nb,?\x80\n"
    assert made.reported == {("characters_replaced", "name"): 3}


def test_media_types_have_the_encoding() -> None:
    made = [formats.media_type(n, formats.options(n, {})) for n in ("csv", "tsv")]
    assert made == ["text/csv; charset=utf-8", "text/tab-separated-values; charset=utf-8"]
    assert formats.media_type("csv", CsvOptions(encoding="latin1")) == "text/csv; charset=iso-8859-1"


@pytest.mark.parametrize(
    "given",
    [
        *({"delimiter": d} for d in ("", ",,", '"', "\n", "\r", "5", "x", "§", "\0")),
        *({"null_value": v} for v in ("a,b", '"', "a\nb")),
        *({"encoding": e} for e in ("no-such", "rot13", "hex", "idna", "undefined")),
        {"decimal_separator": "12"},
        {"datetime_format": "%Q"},
        {"quoting": "some"},
        {"bogus": 1},
    ],
)
def test_an_option_that_cannot_be_is_refused_before_work(given: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        formats.encoder("csv", formats.options("csv", given), Findings())
    assert next(iter(given)) in refused.value.message


def test_a_result_without_columns_is_refused() -> None:
    with pytest.raises(Refused, match="no columns"):
        written("csv", pa.table({}))


INVALID = pa.StringArray.from_buffers(1, pa.array([0, 2], pa.int32()).buffers()[1], pa.py_buffer(b"a\xf8"))


@pytest.mark.parametrize(
    "array",
    [
        INVALID,
        pa.DictionaryArray.from_arrays(pa.array([0]), INVALID),
        pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), INVALID),
        pa.StructArray.from_arrays([INVALID], ["x"]),
    ],
    ids=lambda array: str(array.type),
)
@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_invalid_utf8_is_refused_with_its_column_and_never_written(name: str, array: pa.Array) -> None:
    with pytest.raises(Refused, match=r"'b'.*UTF-8") as refused:
        written(name, pa.table({"a": ["x"], "b": array}))
    assert refused.value.code == "invalid_text"


TABLES = st.lists(
    st.tuples(
        st.none() | st.text(alphabet=st.sampled_from('ab",;\n\r\té🙂 \0'), max_size=6),
        st.none() | st.floats(),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.sampled_from(["x", "y,z"]),
        st.none() | st.lists(st.none() | st.text(max_size=2), max_size=2),
    ),
    min_size=1,
    max_size=30,
)


@pytest.mark.parametrize("name", ["csv", "jsonl", "json"])
@settings(deadline=None, max_examples=40)
@given(TABLES, st.lists(st.integers(1, 9), max_size=10))
def test_the_bytes_do_not_depend_on_how_rows_were_cut(name: str, rows: list[Any], sizes: list[int]) -> None:
    kinds = [pa.string(), pa.float64(), pa.int64(), pa.dictionary(pa.int8(), pa.string()), pa.list_(pa.string())]
    table = pa.table([pa.array(c, k) for c, k in zip(zip(*rows, strict=True), kinds, strict=True)], names=list("abcde"))
    assert written(name, table, sizes) == written(name, table)


@pytest.mark.parametrize("name", ["csv", "jsonl"])
@pytest.mark.parametrize("columns", [1, 30])
def test_slices_joined_are_the_whole(name: str, columns: int) -> None:
    """Enough rows for several slices on several threads, cut in two ways."""
    values = [None if i % 7 == 0 else f'{i},"' if i % 5 == 0 else str(i) for i in range(40_000 // columns)]
    table = pa.table([pa.array(values)] * columns, names=[f"c{i}" for i in range(columns)])
    whole = written(name, table).data
    assert whole == written(name, table, [5, 1, 17_000 // columns]).data
    assert whole.count(b"\n") == len(values) + (name == "csv")


def test_the_header_is_there_before_any_row_is_read() -> None:
    def batches() -> Batches:
        pytest.fail("pulled")
        yield  # type: ignore[unreachable]  # what makes it a generator

    stream = CsvEncoder(CsvOptions(), Findings()).encode(column("x").schema, batches())
    assert next(stream) == b"a,n\n"
    stream.close()


def test_the_first_batch_is_written_before_the_second_is_read() -> None:
    table = column("x", "y")
    pulled: list[int] = []

    def batches() -> Batches:
        for number in range(2):
            pulled.append(number)
            yield table.slice(number, 1).combine_chunks().to_batches()[0]

    stream = CsvEncoder(CsvOptions(), Findings()).encode(table.schema, batches())
    next(stream)
    assert bytes(next(stream)) == b"x,0\n"
    assert pulled == [0]
    stream.close()


class Watched:
    """Many batches of one row each, and whether their generator was closed."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.closed = False
        self.fails_at = fails_at
        self.table = column(*["x"] * 5_000)

    def batches(self) -> Batches:
        try:
            for number in range(1_000):
                if number == self.fails_at:
                    raise Unavailable("the connection was lost")
                yield from pieces(self.table)
        finally:
            self.closed = True


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("taken", [1, 2, 9])
def test_closing_early_closes_the_source_and_leaves_no_thread(threads: int, taken: int) -> None:
    watched = Watched()
    batches = watched.batches()
    stream = CsvEncoder(CsvOptions(), Findings(), threads=threads).encode(watched.table.schema, batches)
    for _ in range(taken):
        next(stream)
    stream.close()
    assert inspect.getgeneratorstate(batches) == inspect.GEN_CLOSED
    assert watched.closed or taken == 1  # with the header alone the source has not begun
    assert not [t for t in threading.enumerate() if t.name.startswith("fluxport-encode")]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_the_source_comes_out_and_leaves_no_thread(threads: int) -> None:
    watched = Watched(fails_at=20)
    with pytest.raises(Unavailable, match="connection was lost"):
        list(CsvEncoder(CsvOptions(), Findings(), threads=threads).encode(watched.table.schema, watched.batches()))
    assert watched.closed
    assert not [t for t in threading.enumerate() if t.name.startswith("fluxport-encode")]


def test_an_error_in_a_late_slice_comes_out_after_the_slices_before_it() -> None:
    values = ["x"] * 60_000
    values[50_000] = "ł"
    stream = CsvEncoder(CsvOptions(encoding="cp1252"), Findings(), threads=2).encode(
        column(*values).schema, pieces(column(*values))
    )
    got = 0
    with pytest.raises(Refused, match="'a'"):
        for chunk in stream:
            got += bytes(chunk).count(b"\n")
    assert 10_000 < got <= 50_001


def test_five_thousand_columns_and_a_cell_of_ten_megabytes_pass() -> None:
    wide = pa.table([pa.array(range(100))] * 5_000, names=[f"c{i}" for i in range(5_000)])
    lines = written("csv", wide).text.splitlines()
    assert lines[100] == ",".join(["99"] * 5_000)
    long = "x" * 10_000_000
    assert written("csv", column("a", long, long + '"')).data == f'a,n\na,0\n{long},1\n"{long}""",2\n'.encode()


def test_long_cells_are_encoded_a_few_at_a_time() -> None:
    long = "y" * 3_000_000
    encoder = CsvEncoder(CsvOptions(), Findings())
    table = pa.table({"a": pa.array([long]).dictionary_encode().take(pa.array([0] * 12))})
    chunks = [len(chunk) for chunk in encoder.encode(table.schema, pieces(table))]
    assert sum(chunks) == 12 * 3_000_001 + 2
    assert max(chunks) < 5_000_000


def test_a_row_whose_text_passes_two_gigabytes_is_refused() -> None:
    def too_long(_: pa.RecordBatch) -> list[bytes | memoryview]:
        raise pa.ArrowCapacityError("array cannot contain more than 2147483646 bytes")

    with pytest.raises(LimitExceeded, match="too long"):
        next(in_order(too_long, pieces(column("x")), 2))


def test_a_null_object_is_an_empty_cell() -> None:
    """The text that Arrow holds under a null has quotes and commas; it is not written."""
    objects = pa.array([None, None], pa.struct([("a", pa.int32()), ("b", pa.string())]))
    assert (
        encoded("csv", pa.record_batch([objects, pa.array([1, 2])], ["object", "number"])) == b"object,number\n,1\n,2\n"
    )


@pytest.mark.parametrize("options", [{}, {"quoting": "all"}, {"null_value": "NULL"}], ids=str)
def test_a_row_of_many_megabytes_is_written_like_a_short_one(options: dict[str, Any]) -> None:
    long = "x" * (3 << 20)
    texts = [long, None, "", 'say "so"' + long, long + ",", "NULL", "short"]
    row = pa.record_batch([pa.array([text]) for text in [*texts, *texts]], [f"c{i}" for i in range(14)])
    shortened = [None if text is None else text.replace(long, "<long>") for text in texts]
    small = pa.record_batch([pa.array([text]) for text in [*shortened, *shortened]], row.schema.names)
    assert encoded("csv", row, **options) == encoded("csv", small, **options).replace(b"<long>", long.encode())
    assert encoded("jsonl", row) == encoded("jsonl", small).replace(b"<long>", long.encode())
