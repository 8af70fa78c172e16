"""Every column type of a real server, in the binary and in the text protocol, against PyMySQL and literal values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxport.errors import FluxportError, QueryFailed
from fluxport.findings import Finding
from fluxport.sources import open_source
from fluxport.stages import FIELD_KIND, FIELD_TYPE
from mysql_support import Database, read_all, scratch_database


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with scratch_database() as made:
        made.run("SET sql_mode = 'ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'")
        yield made


class Case(NamedTuple):
    """A column declaration, its Arrow type, the reported type name, SQL literals and their expected values."""

    declared: str
    arrow: pa.DataType
    reported: str
    literals: list[str]
    values: list[Any]


UUID = "123e4567-e89b-12d3-a456-426655440000"
WKB = "0101000000000000000000f03f0000000000000040"  # POINT(1 2)
D65 = "-12345678901234567890123456789012345.123456789012345678901234567891"
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
CASES = [
    Case("TINYINT", pa.int8(), "tinyint", ["-128", "127"], [-128, 127]),
    Case("TINYINT(1)", pa.int8(), "tinyint(1)", ["0", "2"], [0, 2]),
    Case("TINYINT UNSIGNED", pa.uint8(), "tinyint unsigned", ["255"], [255]),
    Case("SMALLINT", pa.int16(), "smallint", ["-32768", "32767"], [-32768, 32767]),
    Case("SMALLINT UNSIGNED", pa.uint16(), "smallint unsigned", ["65535"], [65535]),
    Case("MEDIUMINT", pa.int32(), "mediumint", ["-8388608", "8388607"], [-8388608, 8388607]),
    Case("MEDIUMINT UNSIGNED", pa.uint32(), "mediumint unsigned", ["16777215"], [16777215]),
    Case("INT", pa.int32(), "int", ["-2147483648", "2147483647"], [-(2**31), 2**31 - 1]),
    Case("INT(8) UNSIGNED ZEROFILL", pa.uint32(), "int unsigned", ["42", "4294967295"], [42, 2**32 - 1]),
    Case("BIGINT", pa.int64(), "bigint", [str(-(2**63)), str(2**63 - 1)], [-(2**63), 2**63 - 1]),
    Case("BIGINT UNSIGNED", pa.uint64(), "bigint unsigned", [str(2**64 - 1)], [2**64 - 1]),
    Case("YEAR", pa.uint16(), "year", ["1901", "2155", "0"], [1901, 2155, 0]),
    Case("DOUBLE", pa.float64(), "double", ["0.1", "1.7976931348623157e308", "5e-324", "-1e15"],
         [0.1, 1.7976931348623157e308, 5e-324, -1e15]),
    Case("DECIMAL(65,30)", pa.decimal256(65, 30), "decimal(65,30)", [D65, "0"], [Decimal(D65), Decimal(0)]),
    Case("DECIMAL(38,38)", pa.decimal128(38, 38), "decimal(38,38)", ["-0." + "9" * 38], [Decimal("-0." + "9" * 38)]),
    Case("DECIMAL(38)", pa.decimal128(38, 0), "decimal(38,0)", ["-" + "9" * 38], [Decimal("-" + "9" * 38)]),
    Case("DECIMAL(10,2) UNSIGNED", pa.decimal128(10, 2), "decimal(10,2) unsigned", ["0.05", "99999999.99"],
         [Decimal("0.05"), Decimal("99999999.99")]),
    Case("DATE", pa.date32(), "date", ["'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "'1969-12-31'"],
         [date(1000, 1, 1), date(9999, 12, 31), date(2024, 2, 29), date(1969, 12, 31)]),
    Case("DATETIME", pa.timestamp("s"), "datetime", ["'2024-01-31'", "'9999-12-31 23:59:59'"],
         [datetime(2024, 1, 31), datetime(9999, 12, 31, 23, 59, 59)]),
    Case("DATETIME(3)", pa.timestamp("ms"), "datetime(3)", ["'2024-01-31 00:00:00.5'", "'1000-01-01'"],
         [datetime(2024, 1, 31, 0, 0, 0, 500_000), datetime(1000, 1, 1)]),
    Case("DATETIME(6)", pa.timestamp("us"), "datetime(6)", ["'1969-12-31 23:59:59.999999'"],
         [datetime(1969, 12, 31, 23, 59, 59, 999_999)]),
    Case("TIMESTAMP NULL", pa.timestamp("s", "UTC"), "timestamp", ["'2024-06-01 12:00:00'"],
         [datetime(2024, 6, 1, 12, tzinfo=UTC)]),
    Case("TIMESTAMP(6) NULL", pa.timestamp("us", "UTC"), "timestamp(6)", ["'2024-06-01 12:00:00.000001'"],
         [datetime(2024, 6, 1, 12, 0, 0, 1, tzinfo=UTC)]),
    Case("TIME", pa.duration("s"), "time", ["'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'"],
         [-(34 * DAY + 23 * 3600 * SECOND - SECOND), 34 * DAY + 23 * 3600 * SECOND - SECOND, timedelta(), -SECOND]),
    Case("TIME(2)", pa.duration("ms"), "time(2)", ["'-00:00:00.25'"], [timedelta(milliseconds=-250)]),
    Case("TIME(6)", pa.duration("us"), "time(6)", ["'100:00:00.000001'"], [timedelta(hours=100, microseconds=1)]),
    Case("BIT(1)", pa.uint64(), "bit(1)", ["b'1'", "b'0'"], [1, 0]),
    Case("BIT(12)", pa.uint64(), "bit(12)", ["b'101010101010'"], [2730]),
    Case("BIT(64)", pa.uint64(), "bit(64)", ["18446744073709551615"], [2**64 - 1]),
    Case("CHAR(5)", pa.utf8(), "char(5)", ["'ab '", "''"], ["ab", ""]),
    Case("VARCHAR(255)", pa.utf8(), "varchar(255)", ["'a\\0b'", "REPEAT('ü', 255)"], ["a\0b", "ü" * 255]),
    Case("VARCHAR(10) CHARACTER SET latin1", pa.utf8(), "varchar(10)", ["'é€'"], ["é€"]),
    Case("TEXT CHARACTER SET ucs2", pa.utf8(), "text", ["'日本'"], ["日本"]),
    Case("VARCHAR(20) CHARACTER SET utf8mb3", pa.utf8(), "varchar(20)", ["'日本'"], ["日本"]),
    Case("TINYTEXT", pa.utf8(), "tinytext", ["'\U0001f600'"], ["\U0001f600"]),
    Case("TEXT", pa.utf8(), "text", ["REPEAT('x', 251)", "REPEAT('x', 250)"], ["x" * 251, "x" * 250]),
    Case("MEDIUMTEXT", pa.utf8(), "mediumtext", ["REPEAT('y', 65536)", "'z'"], ["y" * 65536, "z"]),
    Case("LONGTEXT", pa.utf8(), "longtext", ["REPEAT('y', 700000)", "'z'"], ["y" * 700_000, "z"]),
    Case("BINARY(4)", pa.binary(), "binary(4)", ["x'00ff'"], [b"\0\xff\0\0"]),
    Case("VARBINARY(7)", pa.binary(), "varbinary(7)", ["x'00ff80'", "''"], [b"\0\xff\x80", b""]),
    Case("TINYBLOB", pa.binary(), "tinyblob", ["x'c328'"], [b"\xc3\x28"]),
    Case("BLOB", pa.binary(), "blob", ["REPEAT('x', 65535)"], [b"x" * 65535]),
    Case("MEDIUMBLOB", pa.binary(), "mediumblob", ["x'00'"], [b"\0"]),
    Case("LONGBLOB", pa.binary(), "longblob", ["x'00'"], [b"\0"]),
    Case("ENUM('a', 'ü')", pa.utf8(), "enum", ["'ü'", "1"], ["ü", "a"]),
    Case("SET('x', 'y')", pa.utf8(), "set", ["'x,y'", "''"], ["x,y", ""]),
    Case("JSON", pa.utf8(), "json", ["'{\"a\": [1, null]}'"], ['{"a": [1, null]}']),
    Case("UUID", pa.utf8(), "uuid", [f"'{UUID}'"], [UUID]),
    Case("INET6", pa.utf8(), "inet6", ["'::ffff:1.2.3.4'"], ["::ffff:1.2.3.4"]),
    Case("POINT", pa.utf8(), "point", ["ST_GeomFromText('POINT(1 2)', 4326)"], [WKB]),
    Case("GEOMETRY", pa.utf8(), "geometry", ["POINT(0, 0)"], ["0101000000" + "00" * 16]),
]  # fmt: skip


@pytest.mark.parametrize("text_protocol", [False, True], ids=["binary", "text"])
@pytest.mark.parametrize("case", CASES, ids=[c.declared for c in CASES])
def test_type(database: Database, case: Case, text_protocol: bool) -> None:
    """Values, nulls between them, Arrow type and reported type are right, and PyMySQL reads the same."""
    database.run(f"CREATE OR REPLACE TABLE t (id INT PRIMARY KEY, v {case.declared})")
    literals = ["NULL", *case.literals, "NULL"]
    for number, literal in enumerate(literals):
        database.run(f"INSERT INTO t VALUES ({number}, {literal})")
    query = "SELECT v, id FROM t ORDER BY id"
    table, found = read_all(database.url, query, text_protocol=text_protocol)
    field = table.schema.field("v")
    assert field.type == case.arrow
    assert field.metadata[FIELD_TYPE].decode() == case.reported
    assert table["v"].to_pylist() == [None, *case.values, None]
    assert table["id"].to_pylist() == list(range(len(literals)))
    assert found == []
    assert [as_arrow(v, field) for v, _ in database.run(query)] == table["v"].to_pylist()
    table.validate(full=True)


def as_arrow(value: Any, field: pa.Field) -> Any:
    """PyMySQL's value in our conventions."""
    if isinstance(value, bytes) and field.metadata[FIELD_TYPE].startswith(b"bit"):
        return int.from_bytes(value, "big")
    if isinstance(value, bytes) and field.metadata.get(FIELD_KIND) == b"wkb":
        return value[4:].hex()
    if pa.types.is_timestamp(field.type) and field.type.tz and value is not None:
        return value.replace(tzinfo=UTC)
    return value


KINDS = {"JSON": b"json", "TIME(3)": b"time", "GEOMETRY": b"wkb", "INT": None, "TEXT": None}


@pytest.mark.parametrize(("declared", "kind"), KINDS.items())
def test_kinds_are_passed_to_the_formats(database: Database, declared: str, kind: bytes | None) -> None:
    database.run(f"CREATE OR REPLACE TABLE t (v {declared})")
    table, _ = read_all(database.url, "SELECT v FROM t")
    assert table.schema.field("v").metadata.get(FIELD_KIND) == kind


def test_float_is_the_float_that_the_server_holds(database: Database) -> None:
    """All 32 bits of it; PyMySQL and the text protocol get the six digits that the server prints."""
    database.run("CREATE OR REPLACE TABLE t (v FLOAT)")
    database.run("INSERT INTO t VALUES (16777217), (0.1), (3.4028234e38), (1.1754944e-38), (NULL)")
    table, _ = read_all(database.url, "SELECT v, v + 0e0 AS d FROM t")
    assert table.schema.field("v").type == pa.float32()
    assert table["v"].cast(pa.float64()).to_pylist() == table["d"].to_pylist()
    text, _ = read_all(database.url, "SELECT v FROM t", text_protocol=True)
    assert text["v"].drop_null().to_pylist() == pytest.approx(table["v"].drop_null().to_pylist(), rel=1e-5)


def test_tinyint1_is_a_boolean_only_if_the_connection_is_configured_so(database: Database) -> None:
    database.run("CREATE OR REPLACE TABLE t (a TINYINT(1), b TINYINT)")
    database.run("INSERT INTO t VALUES (1, 1), (0, 0), (NULL, NULL), (-3, 3)")
    for text_protocol in (False, True):
        table, _ = read_all(database.url + "?tinyint1=bool", "SELECT a, b FROM t", text_protocol=text_protocol)
        assert table["a"].to_pylist() == [True, False, None, True]
        assert table["b"].to_pylist() == [1, 0, None, 3]


@pytest.mark.parametrize("text_protocol", [False, True], ids=["binary", "text"])
def test_bits_of_expressions_are_right_or_refused(database: Database, text_protocol: bool) -> None:
    """MariaDB sends the digits of some (MAX, COALESCE) and the bytes of others (window functions)."""
    database.run("CREATE OR REPLACE TABLE t (id INT, five BIT(5), more BIT(8))")
    database.run("INSERT INTO t VALUES (1, 0, 5), (2, 9, 200), (3, 31, 50), (4, NULL, NULL)")
    columns = "five AS a, COALESCE(five) AS b, LAST_VALUE(five) OVER (PARTITION BY id) AS c, more AS d, more + 0 AS e"
    table, _ = read_all(database.url, f"SELECT {columns} FROM t ORDER BY id", text_protocol=text_protocol)
    assert table["a"].to_pylist() == table["b"].to_pylist() == table["c"].to_pylist() == [0, 9, 31, None]
    assert table["d"].to_pylist() == table["e"].to_pylist() == [5, 200, 50, None]
    with pytest.raises(QueryFailed, match="Column 'v' is a BIT") as caught:
        read_all(database.url, "SELECT MAX(more) AS v FROM t", text_protocol=text_protocol)
    assert caught.value.code == "ambiguous_type"


@pytest.mark.parametrize("text_protocol", [False, True], ids=["binary", "text"])
@pytest.mark.parametrize("declared", ["DATE", "DATETIME", "DATETIME(6)", "TIMESTAMP(3) NULL"])
def test_impossible_dates_become_null_and_are_counted(database: Database, declared: str, text_protocol: bool) -> None:
    database.run(f"CREATE OR REPLACE TABLE t (v {declared})")
    literals = ["'0000-00-00'", "'2024-05-01'", "NULL"]
    if "TIMESTAMP" not in declared:
        literals += ["'2024-00-00'", "'2024-05-00'", "'0000-05-01'", "'2023-02-29'", "'2024-02-29'", "'2024-04-31'"]
    database.run(f"INSERT INTO t VALUES {', '.join(f'({v})' for v in literals)}")
    table, found = read_all(database.url, "SELECT v FROM t", text_protocol=text_protocol)
    shown = [None if v is None else f"{v:%Y-%m-%d}" for v in table["v"].to_pylist()]
    if "TIMESTAMP" in declared:
        assert shown == [None, "2024-05-01", None]
        assert found == [Finding("zero_date_null", "v", 1)]
    else:
        assert shown == [None, "2024-05-01", None, None, None, None, None, "2024-02-29", None]
        assert found == [Finding("impossible_date_null", "v", 2), Finding("zero_date_null", "v", 4)]


EXPRESSIONS: list[tuple[str, pa.DataType, Any]] = [
    ("NULL", pa.null(), None),
    ("1", pa.int32(), 1),
    ("SUM(1.5)", pa.decimal128(26, 1), Decimal("1.5")),
    ("AVG(2)", pa.decimal128(5, 4), Decimal("2.0000")),
    ("COUNT(*)", pa.int64(), 1),
    ("1e0 / 3", pa.float64(), 1 / 3),
    ("CONCAT('a', 1)", pa.utf8(), "a1"),
    ("GROUP_CONCAT('a')", pa.utf8(), "a"),
    ("x'00ff'", pa.binary(), b"\0\xff"),
    ("DATE('2024-01-01') + INTERVAL 1 DAY", pa.date32(), date(2024, 1, 2)),
    ("TIMEDIFF('10:00:00', '20:00:00.5')", pa.duration("ms"), timedelta(seconds=-36000, milliseconds=-500)),
    ("@@session.time_zone", pa.utf8(), "+00:00"),
    ("@@session.net_write_timeout", pa.int64(), 86400),
    ("@@session.character_set_results", pa.utf8(), "utf8mb4"),
]


@pytest.mark.parametrize(("expression", "arrow", "value"), EXPRESSIONS, ids=[e for e, _, _ in EXPRESSIONS])
def test_expression(database: Database, expression: str, arrow: pa.DataType, value: Any) -> None:
    binary, _ = read_all(database.url, f"SELECT {expression} AS v")
    text, _ = read_all(database.url, f"SELECT {expression} AS v", text_protocol=True)
    assert binary["v"].to_pylist() == text["v"].to_pylist() == [value]
    assert binary.schema.equals(text.schema)
    if not pa.types.is_decimal(arrow) and not pa.types.is_duration(arrow) and not pa.types.is_integer(arrow):
        assert binary.schema.field("v").type == arrow


ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
        st.none() | st.binary(max_size=300),
        st.none() | st.decimals(-(10**20), 10**20, places=10, allow_nan=False, allow_infinity=False),
        st.none() | st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)),
        st.none() | st.dates(date(1000, 1, 1), date(9999, 12, 31)),
        st.none() | st.timedeltas(timedelta(hours=-838), timedelta(hours=838)),
        st.none() | st.integers(0, 255),
    ),
    max_size=40,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_any_values_come_back_as_they_went_in(database: Database, rows: list[tuple[Any, ...]]) -> None:
    database.run(
        "CREATE OR REPLACE TABLE r (id INT AUTO_INCREMENT PRIMARY KEY, a BIGINT, b DOUBLE, c VARCHAR(300), "
        "d VARBINARY(300), e DECIMAL(40,10), f DATETIME(6), g DATE, h TIME(6), i TINYINT UNSIGNED)"
    )
    if rows:
        database.insert("INSERT INTO r (a,b,c,d,e,f,g,h,i) VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s)", rows)
    query = "SELECT a, b, c, d, e, f, g, h, i FROM r ORDER BY id"
    binary, found = read_all(database.url, query)
    text, _ = read_all(database.url, query, text_protocol=True)
    assert [tuple(row.values()) for row in binary.to_pylist()] == rows
    assert text.equals(binary)
    assert found == []


def test_the_transaction_is_read_only(database: Database) -> None:
    """A function that writes is stopped by the database itself."""
    database.run("CREATE OR REPLACE TABLE w (v INT)")
    database.run("CREATE OR REPLACE FUNCTION sneaky() RETURNS INT BEGIN INSERT INTO w VALUES (1); RETURN 1; END")
    with pytest.raises(FluxportError) as caught:
        read_all(database.url, "SELECT sneaky()")
    assert caught.value.code == "read_only"
    assert database.run("SELECT COUNT(*) FROM w") == [(0,)]


def test_rows_are_of_one_moment(database: Database) -> None:
    """Rows committed after the snapshot are not visible."""
    database.run("CREATE OR REPLACE TABLE s (v INT)")
    database.run("INSERT INTO s VALUES (1)")
    source = open_source(database.url, "SELECT v FROM s UNION ALL SELECT v FROM s WHERE SLEEP(0) = 0")
    assert source.schema.names == ["v"]
    database.run("INSERT INTO s VALUES (2)")
    assert sum(batch.num_rows for batch in source.batches()) == 2
