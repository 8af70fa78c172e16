"""Bytes of the MySQL protocol: capabilities, length-encoded values, packet frames, the packets of every response.

    frame    length (3, little endian) | sequence id (1) | payload
    lenenc   n < 251: n (1) | FC n (2) | FD n (3) | FE n (8); text is its length, then its bytes; FB is NULL
    rows     column count | definition per column | [EOF] | row ... | EOF or OK

Sources of the rules: the MySQL internals manual, "Client/Server Protocol", and the MariaDB knowledge base.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from fluxport_emulator.faults import SqlError, malformed_packet

PAYLOAD_MAX = 0xFFFFFF  # bytes of one frame; a payload of this length or more continues in the next frame
UTF8MB4 = 45  # utf8mb4_general_ci, supported by MySQL and MariaDB clients alike
BINARY = 63


class Capability(IntFlag):
    LONG_PASSWORD = 1
    FOUND_ROWS = 1 << 1
    LONG_FLAG = 1 << 2
    CONNECT_WITH_DB = 1 << 3
    PROTOCOL_41 = 1 << 9
    INTERACTIVE = 1 << 10
    SSL = 1 << 11
    TRANSACTIONS = 1 << 13
    SECURE_CONNECTION = 1 << 15
    MULTI_RESULTS = 1 << 17
    PS_MULTI_RESULTS = 1 << 18
    PLUGIN_AUTH = 1 << 19
    CONNECT_ATTRS = 1 << 20
    PLUGIN_AUTH_LENENC = 1 << 21
    DEPRECATE_EOF = 1 << 24


class Status(IntFlag):
    IN_TRANSACTION = 1
    AUTOCOMMIT = 2


class Command(IntEnum):
    QUIT = 0x01
    INIT_DB = 0x02
    QUERY = 0x03
    FIELD_LIST = 0x04
    STATISTICS = 0x09
    PROCESS_KILL = 0x0C
    PING = 0x0E
    CHANGE_USER = 0x11
    STMT_PREPARE = 0x16
    STMT_EXECUTE = 0x17
    STMT_SEND_LONG_DATA = 0x18
    STMT_CLOSE = 0x19
    STMT_RESET = 0x1A
    SET_OPTION = 0x1B
    RESET_CONNECTION = 0x1F


@dataclass(frozen=True)
class ColumnDefinition:
    """The definition of a result's column, in the protocol's terms."""

    name: str
    code: int
    charset: int
    length: int
    flags: int
    decimals: int
    schema: str = ""
    table: str = ""
    table_alias: str = ""
    original_name: str = ""


class Payload:
    """A cursor over the payload of one packet; reading past its end is a malformed packet."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise malformed_packet()
        start, self.at = self.at, end
        return self.data[start:end]

    def rest(self) -> bytes:
        return self.take(self.left)

    def integer(self, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(width), "little", signed=signed)

    def until_nul(self) -> bytes:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise malformed_packet()
        value = self.data[self.at : end]
        self.at = end + 1
        return value

    def lenenc_integer(self) -> int:
        first = self.integer(1)
        if first < 0xFB:
            return first
        width = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first)
        if width is None:
            raise malformed_packet()
        return self.integer(width)

    def lenenc_bytes(self) -> bytes:
        return self.take(self.lenenc_integer())


def lenenc(number: int) -> bytes:
    if number < 0xFB:
        return bytes((number,))
    if number < 1 << 16:
        return b"\xfc" + number.to_bytes(2, "little")
    if number < 1 << 24:
        return b"\xfd" + number.to_bytes(3, "little")
    return b"\xfe" + number.to_bytes(8, "little")


def lenenc_text(text: str) -> bytes:
    data = text.encode()
    return lenenc(len(data)) + data


def frames(payload: bytes | memoryview, sequence: int) -> tuple[bytes, int]:
    """One payload as frames, and the sequence id after them."""
    out = bytearray()
    at = 0
    while True:
        part = payload[at : at + PAYLOAD_MAX]
        out += (len(part) | (sequence & 0xFF) << 24).to_bytes(4, "little")
        out += part
        sequence += 1
        at += len(part)
        if len(part) < PAYLOAD_MAX:  # a payload that fills its last frame is closed by an empty frame
            return bytes(out), sequence & 0xFF


def greeting(version: str, connection_id: int, nonce: bytes, capabilities: Capability, plugin: str) -> bytes:
    low, high = capabilities & 0xFFFF, capabilities >> 16
    return b"".join(
        (
            b"\x0a",
            version.encode(),
            b"\0",
            struct.pack("<I", connection_id),
            nonce[:8],
            b"\0",
            struct.pack("<HBHHB", low, UTF8MB4, Status.AUTOCOMMIT, high, len(nonce) + 1),
            bytes(10),
            nonce[8:],
            b"\0",
            plugin.encode(),
            b"\0",
        )
    )


def ok(status: Status, *, header: int = 0x00, affected: int = 0, warnings: int = 0, info: str = "") -> bytes:
    return (
        bytes((header,)) + lenenc(affected) + b"\0" + struct.pack("<HH", status, min(warnings, 0xFFFF)) + info.encode()
    )


def eof(status: Status) -> bytes:
    return struct.pack("<BHH", 0xFE, 0, status)


def error(fault: SqlError) -> bytes:
    return b"\xff" + struct.pack("<H", fault.number) + b"#" + fault.state.encode() + fault.message.encode()


def column_definition(column: ColumnDefinition) -> bytes:
    return b"".join(
        (
            b"\x03def",
            lenenc_text(column.schema),
            lenenc_text(column.table_alias),
            lenenc_text(column.table),
            lenenc_text(column.name),
            lenenc_text(column.original_name),
            b"\x0c",
            struct.pack(
                "<HIBHBxx", column.charset, min(column.length, 0xFFFFFFFF), column.code, column.flags, column.decimals
            ),
        )
    )
