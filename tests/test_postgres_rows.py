"""What a server may send around the rows of COPY, right and wrong, through a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from fluxport.errors import FluxportError, LimitExceeded, QueryFailed, Unavailable
from fluxport.sources.postgres.link import Link
from fluxport.sources.postgres.rows import HEADER, RowShape, SocketRows
from fluxport.sources.postgres.stream import Stream
from fluxport.systems import ready


def message(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + (len(payload) + 4).to_bytes(4, "big") + payload


def row(*cells: bytes | None) -> bytes:
    sized = (b"\xff\xff\xff\xff" if cell is None else len(cell).to_bytes(4, "big") + cell for cell in cells)
    return len(cells).to_bytes(2, "big") + b"".join(sized)


def notice(kind: bytes, severity: str, state: str, text: str = "sensitive") -> bytes:
    return message(kind, f"S{severity}\0V{severity}\0C{state}\0M{text}\0\0".encode())


START = message(b"1") + message(b"2") + message(b"H", b"\1\0\1\0\1")
LAST, DONE, READY = message(b"d", b"\xff\xff"), message(b"c"), message(b"Z", b"T")


def complete(rows: int) -> bytes:
    return message(b"C", f"COPY {rows}\0".encode())


def end(rows: int) -> bytes:
    return LAST + DONE + complete(rows) + READY


FIRST = message(b"d", HEADER + row(b"a"))


@contextmanager
def received(content: bytes, bytes_max: int = 1 << 20) -> Iterator[tuple[Link, SocketRows]]:
    """The rows of a server that sends ``content`` and closes the connection."""
    ours, theirs = socket.socketpair()
    link = Link({}, lambda: None, 1, 1)

    def wait(reading: bool, writing: bool) -> None:
        assert ready(10, [ours.fileno()] if reading else [], [ours.fileno()] if writing else [])

    def serve() -> None:
        with theirs, suppress(ConnectionError):  # the rest may not be read
            theirs.sendall(content)

    ours.setblocking(False)
    stream = Stream(ours, wait, link.lost)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield link, SocketRows(link, stream, RowShape(1, bytes_max))
    finally:
        stream.close()
        thread.join(10)


def sizes(content: bytes) -> list[int]:
    """The bytes of each row."""
    with received(content) as (_, rows):
        rows.begin()
        return [int(size) for block in rows.blocks() for size in block.ends - block.starts]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (START + FIRST + message(b"d", row(b"bc")) + end(2), [7, 8]),
        (START + message(b"d", HEADER) + message(b"d", row(None)) + end(1), [6]),
        (START + message(b"d", HEADER + b"\xff\xff") + DONE + complete(0) + READY, []),
        (START + message(b"d", HEADER) + end(0), []),
        (START + FIRST + message(b"S", b"TimeZone\0UTC\0") + message(b"d", row(b"")) + end(2), [7, 6]),
        (START + FIRST + message(b"d", row(b"x" * 1_000_000)) + message(b"d", row(b"y")) + end(3), [7, 1_000_006, 7]),
    ],
    ids=["rows", "header apart", "none", "header apart, none", "a setting between", "larger than the buffer"],
)
def test_rows_and_their_end(content: bytes, expected: list[int]) -> None:
    assert sizes(content) == expected


def test_warnings_between_the_rows_are_counted() -> None:
    content = START + notice(b"N", "WARNING", "01000") + FIRST + notice(b"N", "NOTICE", "00000")
    with received(content + notice(b"N", "WARNING", "01004") + message(b"d", row(b"b")) + end(2)) as (link, rows):
        rows.begin()
        assert sum(len(block) for block in rows.blocks()) == 2
    assert link.warnings == {"01000": 1, "01004": 1}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"junk" * 10, "source_broken"),
        (message(b"T"), "source_broken"),
        (message(b"1") + message(b"H", b"\0\0\1\0\0"), "source_broken"),  # in text
        (message(b"H", b"\1\0\2\0\1\0\1"), "source_broken"),  # of two columns
        (START + message(b"d", b"x" * 40) + end(1), "source_broken"),  # no header
        (START + FIRST + message(b"d", row(b"a", b"b")) + end(2), "source_broken"),
        (START + FIRST + message(b"d", b"") + end(2), "source_broken"),
        (START + FIRST + message(b"Q") + end(1), "source_broken"),
        (START + FIRST + LAST + message(b"d", row(b"b")) + DONE + complete(2) + READY, "source_broken"),
        (START + FIRST + message(b"Q", bytes(3_000_000)) + end(1), "source_broken"),
        (START + FIRST + message(b"C", bytes(3_000_000)) + end(1), "source_broken"),
        (START + FIRST + b"d\0\0\0\0" + end(1), "source_broken"),
        (START + FIRST + b"d\xff\xff\xff\xff" + end(1), "source_broken"),
        (START + FIRST + end(2), "source_lost"),
        (START + FIRST + DONE + complete(1) + READY, "source_lost"),
        (START + FIRST + LAST + DONE + READY, "source_lost"),
        (START + FIRST + message(b"d", row(b"b"))[:-1], "source_lost"),
        (START + FIRST + LAST + DONE, "source_lost"),
        (START[:-1], "source_lost"),
        (b"", "source_lost"),
    ],
)
def test_what_is_no_right_end_of_right_rows_is_an_error(content: bytes, code: str) -> None:
    with pytest.raises(Unavailable) as caught:
        sizes(content)
    assert caught.value.code == code


def test_an_error_of_the_server_is_its_own_wherever_it_comes() -> None:
    for before in (b"", START, START + FIRST, START + FIRST + LAST + DONE):
        with pytest.raises(FluxportError) as caught:
            sizes(before + notice(b"E", "ERROR", "22012") + READY)
        assert (type(caught.value), caught.value.code) == (QueryFailed, "bad_value")
        assert "sensitive" not in caught.value.message


@pytest.mark.parametrize("size", [10_000, 100_000, 3_000_000])
def test_errors_and_notices_may_have_any_size(size: int) -> None:
    """They repeat values of the query, and come before, between and after the rows."""
    text = "\N{EURO SIGN}" * (size // 3)
    warning, info = notice(b"N", "WARNING", "01004", text), notice(b"N", "NOTICE", "00000", text)
    content = warning + START + info + FIRST + warning + info + message(b"d", row(b"b")) + LAST + warning + DONE
    with received(content + complete(2) + READY) as (link, rows):
        rows.begin()
        assert sum(len(block) for block in rows.blocks()) == 2
    assert link.warnings == {"01004": 3}
    for before in (b"", START, START + FIRST, START + FIRST + LAST + DONE):
        with pytest.raises(FluxportError) as caught:
            sizes(before + notice(b"E", "ERROR", "22P02", text) + READY)
        assert (type(caught.value), caught.value.code) == (QueryFailed, "bad_value")
        assert len(caught.value.detail or "") <= 16 << 10


@pytest.mark.parametrize("size", [2000, 2_000_000])
def test_a_row_beyond_the_limit_is_named_before_it_is_received(size: int) -> None:
    content = START + FIRST + message(b"d", row(b"x" * size))
    with received(content[: len(content) - (size > 1_000_000) * 1_000_000], 1000) as (_, rows):
        rows.begin()
        with pytest.raises(LimitExceeded, match="Row 2 "):
            list(rows.blocks())
