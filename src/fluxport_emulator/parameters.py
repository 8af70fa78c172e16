"""Values of COM_STMT_EXECUTE: a null bitmap, the types if they changed, then the values that are not null."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation

from fluxport_emulator.faults import malformed_packet
from fluxport_emulator.values import Value
from fluxport_emulator.wire import Payload

_UNSIGNED = 0x80


def read(packet: Payload, count: int, known: list[int], long_data: Mapping[int, bytes]) -> list[Value]:
    """The parameters; ``known`` holds the types of the last execution and is updated."""
    if not count:
        return []
    bitmap = packet.take((count + 7) // 8)
    if packet.integer(1):
        known[:] = [packet.integer(2) for _ in range(count)]
    if len(known) != count:
        raise malformed_packet()
    values: list[Value] = []
    for index, kind in enumerate(known):
        if index in long_data:
            values.append(_text(long_data[index]))
        elif bitmap[index // 8] >> (index % 8) & 1:
            values.append(None)
        else:
            values.append(_value(packet, kind & 0xFF, unsigned=bool(kind >> 8 & _UNSIGNED)))
    return values


def _value(packet: Payload, code: int, *, unsigned: bool) -> Value:
    if code in _INTEGER_BYTES:
        return packet.integer(_INTEGER_BYTES[code], signed=not unsigned)
    reader = _READERS.get(code)
    return reader(packet) if reader else _text(packet.lenenc_bytes())


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _float(packet: Payload) -> Value:
    return float(struct.unpack("<f", packet.take(4))[0])


def _double(packet: Payload) -> Value:
    return float(struct.unpack("<d", packet.take(8))[0])


def _decimal(packet: Payload) -> Value:
    try:
        number = Decimal(packet.lenenc_bytes().decode("ascii"))
    except (InvalidOperation, UnicodeDecodeError):
        raise malformed_packet() from None
    return number if number.is_finite() else None


def _temporal(packet: Payload) -> Value:
    """A date or a date and time; a zero date is text, because Python cannot represent it."""
    width = packet.integer(1)
    if width not in (0, 4, 7, 11):
        raise malformed_packet()
    fields = struct.unpack("<HBBBBBI", packet.take(width).ljust(11, b"\0"))
    try:
        timestamp = dt.datetime(*fields)
    except ValueError:
        year, month, day, *_ = fields
        return f"{year:04d}-{month:02d}-{day:02d}"
    return timestamp.date() if width == 4 else timestamp


def _time(packet: Payload) -> Value:
    width = packet.integer(1)
    if width not in (0, 8, 12):
        raise malformed_packet()
    negative, days, hours, minutes, seconds, microseconds = struct.unpack(
        "<BIBBBI", packet.take(width).ljust(12, b"\0")
    )
    try:
        span = dt.timedelta(days, seconds, microseconds, hours=hours, minutes=minutes)
    except OverflowError:
        raise malformed_packet() from None
    return -span if negative else span


_INTEGER_BYTES = {1: 1, 2: 2, 13: 2, 3: 4, 9: 4, 8: 8}
_READERS: dict[int, Callable[[Payload], Value]] = {
    0: _decimal,
    4: _float,
    5: _double,
    6: lambda _: None,
    7: _temporal,
    10: _temporal,
    11: _time,
    12: _temporal,
    14: _temporal,
    246: _decimal,
}
