"""A scripted server: the parts of the protocol that no real server shows on demand."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from fluxport.sources.mysql.handshake import (
    DEPRECATE_EOF,
    LONG_FLAG,
    LONG_PASSWORD,
    PLUGIN_AUTH,
    PLUGIN_AUTH_LENENC,
    PROTOCOL_41,
    SECURE_CONNECTION,
    TRANSACTIONS,
)
from fluxport.sources.mysql.wire import lenenc

CAPABILITIES = (
    LONG_PASSWORD | LONG_FLAG | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH | PLUGIN_AUTH_LENENC
)
OK = b"\x00\x00\x00\x02\x00\x00\x00"
EOF = b"\xfe\x00\x00\x02\x00"
OK_EOF = b"\xfe\x00\x00\x02\x00\x00\x00"
WARNED_OK_EOF = OK_EOF[:5] + b"\x05\x00"  # with five warnings
WARNED_EOF = b"\xfe\x05\x00" + EOF[3:]
NONCE = bytes(range(1, 21))


def error(number: int, state: str = "HY000", text: str = "scripted") -> bytes:
    return b"\xff" + struct.pack("<H", number) + b"#" + state.encode() + text.encode()


def definition(
    name: str, code: int, *, charset: int = 45, length: int = 1020, flags: int = 0, decimals: int = 0
) -> bytes:
    texts = (b"def", b"", b"", b"", name.encode(), b"")
    fixed = struct.pack("<HIBHBxx", charset, length, code, flags, decimals)
    return b"".join(lenenc(len(t)) + t for t in texts) + b"\x0c" + fixed


def sized(data: bytes) -> bytes:
    return lenenc(len(data)) + data


@dataclass
class Raw:
    """Bytes sent as they are, where a packet was due."""

    data: bytes


@dataclass
class Result:
    """Column definitions, then row payloads, then the end (None: the one that the capabilities require)."""

    columns: list[bytes]
    rows: list[bytes | Raw]
    end: bytes | Raw | None = None


class Peer:
    """One connection seen from the server: packets with the next sequence number."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sequence = 0

    def receive(self) -> bytes:
        """The next packet's payload, empty where the client has gone."""
        head = self._exactly(4)
        if not head:
            return b""
        self.sequence = (head[3] + 1) & 255
        return self._exactly(int.from_bytes(head[:3], "little"))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            if not part:
                return b""
            data += part
        return data

    def send(self, *packets: bytes | Raw) -> None:
        out = bytearray()
        for packet in packets:
            if isinstance(packet, Raw):
                out += packet.data
                continue
            for at in range(0, len(packet) + 1, 0xFFFFFF):
                part = packet[at : at + 0xFFFFFF]
                out += len(part).to_bytes(3, "little") + bytes([self.sequence]) + part
                self.sequence = (self.sequence + 1) & 255
        self.sock.sendall(out)


@dataclass
class ScriptedServer:
    """Answers every SET and START TRANSACTION with OK and every query with ``result`` (or an error packet).

    ``answer`` may answer a statement of the text protocol otherwise. ``login`` handles everything after the greeting,
    up to and including the final OK. ``statements`` are those received.
    """

    result: Result | bytes = b""
    capabilities: int = CAPABILITIES | DEPRECATE_EOF
    plugin: str = "mysql_native_password"
    version: str = "8.0.99-scripted"
    greeting: bytes | None = None
    login: Callable[[Peer], None] | None = None
    answer: Callable[[str], bytes | Result | None] = lambda statement: None
    statements: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mysql://tester:secret@127.0.0.1:{self._listener.getsockname()[1]}/db"
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for sock in self._sockets:
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(sock)
                thread = threading.Thread(target=self._serve, args=(Peer(sock),), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, peer: Peer) -> None:
        with contextlib.suppress(OSError):
            peer.send(self.greeting if self.greeting is not None else self._greet())
            if self.login is not None:
                self.login(peer)
            elif peer.receive():
                peer.send(OK)
            while command := peer.receive():
                # In one piece: what stands behind the end of rows arrives with it.
                peer.send(*self._answer(command))
            peer.sock.shutdown(socket.SHUT_RDWR)

    def _greet(self) -> bytes:
        low, high = self.capabilities & 0xFFFF, self.capabilities >> 16
        return (
            b"\x0a" + self.version.encode() + b"\0" + struct.pack("<I", os.getpid()) + NONCE[:8] + b"\0"
            + struct.pack("<HBHHB10x", low, 45, 2, high, 21) + NONCE[8:] + b"\0" + self.plugin.encode() + b"\0"
        )  # fmt: skip

    def _answer(self, command: bytes) -> Iterator[bytes | Raw]:
        kind, body = command[0], command[1:]
        if kind == 0x03:
            statement = body.decode()
            self.statements.append(statement)
            if (scripted := self.answer(statement)) is not None:
                yield from self._rows_of(scripted)
                return
            if statement.startswith(("SET ", "START ", "KILL ")):
                yield OK
                return
        if kind == 0x19:
            return
        if kind == 0x16 and isinstance(self.result, Result):
            yield b"\0" + struct.pack("<IHHxH", 1, len(self.result.columns), 0, 0)
            yield from self._columns(self.result)
        else:
            yield from self._rows_of(self.result)

    def _rows_of(self, result: Result | bytes) -> Iterator[bytes | Raw]:
        if isinstance(result, bytes):
            yield result
            return
        yield lenenc(len(result.columns))
        yield from self._columns(result)
        yield from result.rows
        end = result.end
        yield (OK_EOF if self.capabilities & DEPRECATE_EOF else EOF) if end is None else end

    def _columns(self, result: Result) -> Iterator[bytes]:
        yield from result.columns
        if not self.capabilities & DEPRECATE_EOF:
            yield EOF
