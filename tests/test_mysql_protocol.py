"""Parts of the wire protocol that real servers do not show on demand: both row endings, broken packets, odd
capabilities."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.errors import Canceled, FluxportError, LimitExceeded, QueryFailed, Refused, Unavailable
from fluxport.findings import Finding
from fluxport.sources import open_source
from fluxport.sources.mysql.definitions import Type
from fluxport.stages import Limits
from mysql_support import read_all
from scripted_mysql import CAPABILITIES, EOF, OK, Peer, Raw, Result, ScriptedServer, definition, error, sized

TEXT = [definition("v", Type.VAR_STRING)]
BIGINT = [definition("v", Type.LONGLONG, charset=63, length=20)]


def text_row(*cells: bytes | None) -> bytes:
    """A row of the binary protocol whose columns are all text."""
    nulls = bytearray((len(cells) + 9) // 8)
    for index, cell in enumerate(cells):
        if cell is None:
            nulls[(index + 2) // 8] |= 1 << ((index + 2) % 8)
    return b"\0" + bytes(nulls) + b"".join(sized(c) for c in cells if c is not None)


@pytest.mark.parametrize("deprecate_eof", [0, 1 << 24], ids=["eof", "ok"])
@pytest.mark.parametrize("prepared", ["true", "false"])
def test_both_forms_of_the_end_of_rows(deprecate_eof: int, prepared: str) -> None:
    rows: list[bytes | Raw] = [text_row(b"a"), text_row(None), text_row(b"")]
    if prepared == "false":
        rows = [sized(b"a"), b"\xfb", sized(b"")]
    with ScriptedServer(Result(TEXT, rows), capabilities=CAPABILITIES | deprecate_eof) as server:
        table, _ = read_all(server.url + f"?prepared={prepared}", "SELECT v")
    assert table["v"].to_pylist() == ["a", None, ""]


BAD_TAILS: dict[str, tuple[list[bytes | Raw], Any, str]] = {
    "error among rows": ([text_row(b"a")], error(1317), "source_lost"),
    "sequence skips": ([Raw(b"\x03\0\0\x63\0\0\0")], None, "source_broken"),
    "row after the end": ([text_row(b"a"), EOF, text_row(b"b")], None, "source_broken"),
    "row of another kind": ([b"\x05\x00\x01a"], None, "source_broken"),
    "empty row": ([b""], None, "source_broken"),
    "cell beyond its row": ([b"\0\0\x09abc"], None, "source_broken"),
    "length mark of no meaning": ([b"\0\0\xff\0\0\0\0\0\0\0\0\0"], None, "source_broken"),
    "negative length": ([b"\0\0\xfe" + b"\xff" * 8 + b"abc"], None, "source_broken"),
    "row too long": ([text_row(b"abc") + b"x"], None, "source_broken"),
    "row too short": ([b"\0"], None, "source_broken"),
}


@pytest.mark.parametrize(("rows", "end", "code"), BAD_TAILS.values(), ids=BAD_TAILS)
def test_what_is_not_the_protocol_is_never_a_result(rows: list[bytes | Raw], end: Any, code: str) -> None:
    with ScriptedServer(Result(TEXT, rows, end)) as server, pytest.raises(Unavailable) as caught:
        read_all(server.url, "SELECT v")
    assert caught.value.code == code


@settings(max_examples=150, deadline=None)
@given(payloads=st.lists(st.binary(min_size=1, max_size=40).map(lambda b: b"\0" + b), max_size=4), data=st.data())
def test_no_bytes_of_a_server_end_in_anything_but_rows_or_a_refusal(payloads: list[bytes], data: st.DataObject) -> None:
    """Random rows under random column types, a fuzz of the decoders."""
    codes = data.draw(st.lists(st.sampled_from([int(t) for t in Type]), min_size=1, max_size=5))
    columns = [definition(f"c{n}", code, charset=data.draw(st.sampled_from([45, 63]))) for n, code in enumerate(codes)]
    prepared = data.draw(st.sampled_from(["true", "false"]))
    with ScriptedServer(Result(columns, list(payloads))) as server:
        try:
            table, _ = read_all(server.url + f"?prepared={prepared}", "SELECT v")
        except FluxportError:
            return
        table.validate(full=True)
        assert table.num_rows == len(payloads)


def test_invalid_utf8_is_replaced_and_counted() -> None:
    rows: list[bytes | Raw] = [
        text_row(b"plain"),
        text_row("gr\u00fcn".encode()),
        text_row(b"a\xffb"),
        text_row(b"\xe2\x82"),
        text_row(None),
    ]
    with ScriptedServer(Result(TEXT, rows)) as server:
        table, found = read_all(server.url, "SELECT v")
    assert table["v"].to_pylist() == ["plain", "grün", "a\ufffdb", "\ufffd", None]
    assert found == [Finding("invalid_text_replaced", "v", 2)]


def test_a_character_cut_in_two_by_a_cells_end_is_invalid_though_the_buffer_is_not() -> None:
    with ScriptedServer(Result(TEXT, [text_row(b"\xc3"), text_row(b"\xbc")])) as server:
        table, found = read_all(server.url, "SELECT v")
    assert table["v"].to_pylist() == ["\ufffd", "\ufffd"]
    assert found == [Finding("invalid_text_replaced", "v", 2)]


def test_json_vector_and_negative_zero() -> None:
    columns = [
        definition("j", Type.JSON, charset=63),
        definition("w", Type.VECTOR, charset=63),
        definition("d", Type.DOUBLE, charset=63),
    ]
    row = b"\0\0" + sized(b"{}") + sized(b"\0\xff") + struct.pack("<d", -0.0)
    with ScriptedServer(Result(columns, [row])) as server:
        table, _ = read_all(server.url, "SELECT 1")
    assert str(table.to_pylist()) == str([{"j": "{}", "w": "00ff", "d": -0.0}])


def test_a_fraction_finer_than_declared_is_reported() -> None:
    """No server should send it; if one does, the loss is reported."""
    row = b"\0\0\x0b" + struct.pack("<HBBBBBI", 2024, 1, 2, 3, 4, 5, 600_000)
    with ScriptedServer(Result([definition("t", Type.DATETIME, charset=63, length=19)], [row])) as server:
        _, found = read_all(server.url, "SELECT t")
    assert found == [Finding("precision_reduced", "t", 1)]


def test_a_number_wider_than_its_declaration_is_an_error_that_names_the_column() -> None:
    columns = [definition("price", Type.NEWDECIMAL, charset=63, length=6, decimals=2)]
    with ScriptedServer(Result(columns, [text_row(b"123456789.00")])) as server, pytest.raises(FluxportError) as caught:
        read_all(server.url, "SELECT price")
    assert caught.value.code == "decimal_overflow"
    assert "'price'" in caught.value.message


def test_several_results_are_refused() -> None:
    more = b"\xfe\x00\x00\x0a\x00\x00\x00"
    with ScriptedServer(Result(TEXT, [text_row(b"a")], more)) as server, pytest.raises(QueryFailed) as caught:
        read_all(server.url, "CALL p()")
    assert caught.value.code == "several_results"


def test_a_local_file_is_never_sent() -> None:
    with ScriptedServer(b"\xfb/etc/passwd") as server, pytest.raises(QueryFailed) as caught:
        read_all(server.url + "?prepared=false", "SELECT 1")
    assert caught.value.code == "local_infile"


def test_what_cannot_be_prepared_goes_by_the_text_protocol() -> None:
    class Unprepared(ScriptedServer):
        def _answer(self, command: bytes) -> Any:
            return iter([error(1295)]) if command[0] == 0x16 else super()._answer(command)

    with Unprepared(Result(TEXT, [sized(b"a")])) as server:
        table, _ = read_all(server.url, "SHOW SOMETHING")
    assert table["v"].to_pylist() == ["a"]


def test_a_row_over_several_packets_and_every_width_of_length() -> None:
    """Cells of 250 to 2**24 bytes, in rows of one packet, of two, and of exactly one full packet and an empty one."""
    sizes = [0, 250, 251, 65_535, 65_536, 0xFFFFFF - 6, 0xFFFFFF - 5, 0xFFFFFF, 0x1000000, 3]
    with ScriptedServer(Result(TEXT, [text_row(b"x" * n) for n in sizes])) as server:
        table, _ = read_all(server.url, "SELECT v")
    assert [len(v) for v in table["v"].to_pylist()] == sizes


@pytest.mark.parametrize("prepared", ["true", "false"])
def test_a_cell_too_large_is_refused_by_name_before_it_is_held(prepared: str) -> None:
    """The server stalls 1 MiB into a cell of 200: the refusal does not wait for the rest."""
    head = b"" if prepared == "false" else b"\0\0"
    begun = head + sized(b"c") + b"\xfe" + struct.pack("<Q", 200 << 20) + bytes(1 << 20)
    columns = [definition("small", Type.VAR_STRING), definition("large", Type.LONG_BLOB)]
    sequence = 5  # behind the column count, two definitions and a row
    rows: list[bytes | Raw] = [head + sized(b"a") + sized(b"b"), Raw(b"\xff\xff\xff" + bytes([sequence]) + begun)]
    with ScriptedServer(Result(columns, rows, Raw(b""))) as server, pytest.raises(LimitExceeded) as caught:
        read_all(server.url + f"?prepared={prepared}", "SELECT 1")
    assert caught.value.code == "cell_too_large"
    assert "'large', row 2" in caught.value.message


def test_a_small_cell_limit_names_row_and_column_too() -> None:
    rows: list[bytes | Raw] = [text_row(b"x" * n) for n in (10, 99, 101, 500)]
    with ScriptedServer(Result(TEXT, rows)) as server, pytest.raises(LimitExceeded, match=r"'v', row 4 .* 500 bytes"):
        read_all(server.url, "SELECT v", limits=Limits(cell_bytes_max=100))


GREETINGS: dict[str, tuple[bytes, type[FluxportError], str]] = {
    "too many connections": (b"\xff" + struct.pack("<H", 1040) + b"Too many", Unavailable, "source_busy"),
    "host blocked": (error(1129), Unavailable, "source_unreachable"),
    "host not allowed": (error(1130), QueryFailed, "login_refused"),
    "not a database": (b"SSH-2.0-OpenSSH", QueryFailed, "not_mysql"),
    "cut off": (b"\x0a8.0.1\0abc", QueryFailed, "not_mysql"),
    "too old": (b"\x0a3.23\0" + bytes(60), QueryFailed, "not_mysql"),
}


@pytest.mark.parametrize(("greeting", "kind", "code"), GREETINGS.values(), ids=GREETINGS)
def test_an_invalid_greeting_is_refused(greeting: bytes, kind: type[FluxportError], code: str) -> None:
    with ScriptedServer(greeting=greeting) as server, pytest.raises(kind) as caught:
        read_all(server.url, "SELECT 1")
    assert caught.value.code == code


def test_a_server_that_lacks_a_setting_that_may_be_missing_is_used_without_it() -> None:
    def answer(statement: str) -> bytes | None:
        return error(1193) if "max_execution_time" in statement else None

    with ScriptedServer(Result(TEXT, []), answer=answer) as server:
        table, _ = read_all(server.url, "SELECT v", limits=Limits(deadline_s=30))
    assert table.num_rows == 0
    assert [s.split(" = ")[0] for s in server.statements] == [
        "SET NAMES utf8mb4, time_zone",  # with all of them
        "SET NAMES utf8mb4, time_zone",
        "SET net_write_timeout",
        "SET sql_select_limit",
        "SET max_execution_time",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ]


@pytest.mark.parametrize("number", [1193, 1064, 1227])
def test_a_setting_that_must_hold_is_never_left_out(number: int) -> None:
    refuse = error(number)
    with ScriptedServer(Result(TEXT, []), answer=lambda s: refuse if s.startswith("SET NAMES") else None) as server:
        with pytest.raises(FluxportError):
            read_all(server.url, "SELECT v")
        assert not any(s.startswith("START") for s in server.statements)


def test_no_export_without_a_read_only_transaction() -> None:
    refuse = error(1235)
    answer: Callable[[str], bytes | None] = lambda s: refuse if s.startswith("START") else None  # noqa: E731  one line of several that differ
    with ScriptedServer(Result(TEXT, []), answer=answer) as server, pytest.raises(Refused) as caught:
        read_all(server.url, "SELECT v")
    assert caught.value.code == "no_read_only"


Login = Callable[[Peer], None]


def test_an_unknown_way_of_logging_in_is_named() -> None:
    def login(peer: Peer) -> None:
        peer.receive()
        peer.send(b"\xfeauthentication_kerberos_client\0" + bytes(20) + b"\0")

    with ScriptedServer(login=login) as server, pytest.raises(QueryFailed, match="'authentication_kerberos_client'"):
        read_all(server.url, "SELECT 1")


def test_a_password_is_not_sent_readable_over_plain_tcp() -> None:
    heard: list[bytes] = []

    def login(peer: Peer) -> None:
        heard.append(peer.receive())
        peer.send(b"\xfemysql_clear_password\0")
        heard.append(peer.receive())

    with ScriptedServer(login=login) as server, pytest.raises(QueryFailed, match="only over TLS"):
        read_all(server.url, "SELECT 1")
    assert not any(b"secret" in packet for packet in heard)


def test_a_server_that_never_ends_the_login_is_left() -> None:
    def login(peer: Peer) -> None:
        while peer.receive():
            peer.send(b"\xfemysql_native_password\0" + bytes(20) + b"\0")

    with ScriptedServer(login=login) as server, pytest.raises(Unavailable) as caught:
        read_all(server.url, "SELECT 1")
    assert caught.value.code == "source_broken"


def test_a_source_closed_before_it_began_is_canceled() -> None:
    source = open_source("mysql://u@127.0.0.1:1/d", "SELECT 1")
    source.close()
    with pytest.raises(Canceled):
        _ = source.schema


def test_ok_is_not_taken_for_rows() -> None:
    with ScriptedServer(OK) as server, pytest.raises(Refused) as caught:
        read_all(server.url + "?prepared=false", "DO 1")
    assert caught.value.code == "no_result_set"


def test_long_cells_may_begin_in_any_column_of_any_block() -> None:
    """A column whose cells became long is measured with care, also where an earlier column becomes long later."""
    long, short = b"x" * 300, b"y"
    kinds = text_row(short, None, long), text_row(long, short, long), text_row(None, long, short)
    rows: list[bytes | Raw] = [row for row in kinds for _ in range(2000)]
    columns = [definition(name, Type.VAR_STRING, length=1200) for name in "abc"]
    with ScriptedServer(Result(columns, rows)) as server:
        table, _ = read_all(server.url, "SELECT 1")
    assert table.num_rows == 6000
    assert table.slice(1999, 2).to_pylist() == [
        {"a": "y", "b": None, "c": long.decode()},
        {"a": long.decode(), "b": "y", "c": long.decode()},
    ]
    assert table.slice(5999).to_pylist() == [{"a": None, "b": long.decode(), "c": "y"}]
