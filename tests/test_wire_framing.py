"""Where messages begin in a receive buffer, in the protocols of MySQL and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.sources.mysql.rows import PACKETS
from fluxport.sources.postgres.rows import MESSAGES
from fluxport.sources.wire.framing import Framing, message_starts
from fluxport.sources.wire.receive import SLACK_BYTES


def packet(size: int, number: int) -> bytes:
    return size.to_bytes(3, "little") + bytes([number & 255]) + bytes([number & 255]) * size


def message(size: int, number: int) -> bytes:
    return b"d" + (size + 4).to_bytes(4, "big") + bytes([number & 255]) * size


FRAMINGS: dict[str, tuple[Framing, Callable[[int, int], bytes]]] = {
    "mysql": (PACKETS, packet),
    "postgresql": (MESSAGES, message),
}


@pytest.mark.parametrize("name", FRAMINGS)
@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.sampled_from([1, 5, 5, 5, 60, 60, 251, 255, 256, 300, 65535, 65536]) | st.integers(1, 700)),
    repeat=st.integers(1, 100),
    cut=st.integers(0, 80),
    short=st.booleans(),
)
def test_starts_are_those_of_a_plain_walk(name: str, lengths: list[int], repeat: int, cut: int, short: bool) -> None:
    framing, made = FRAMINGS[name]
    messages = [made(size, n) for n, size in enumerate((lengths * repeat)[:3000])]
    expected, at = [], 7
    for each in messages:
        expected.append(at)
        at += len(each)
    end = max(7, at - cut)
    buffer = bytearray(7) + b"".join(messages) + bytes(SLACK_BYTES)
    starts, stopped = message_starts(buffer, 7, end, framing, short=short)
    whole = [s for s, p in zip(expected, messages, strict=True) if s + len(p) <= end]
    assert starts.tolist() == whole
    assert stopped == (whole[-1] + len(messages[len(whole) - 1]) if whole else 7)
