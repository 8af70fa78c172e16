"""Packets over one connection: the asyncio side of the protocol.

The first packets are read from the bare socket, exactly as many bytes as needed: a client that requests TLS starts its
handshake without waiting, and bytes in a buffered reader would be lost to the TLS layer.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from fluxport_emulator import faults, wire
from fluxport_emulator.faults import SqlError

WRITE_AHEAD_BYTES = 1 << 20  # buffered for a slow client before the query waits


class Channel:
    """``sequence`` is the id of the next packet, whichever side sends it."""

    def __init__(self, sock: socket.socket, packet_bytes_max: int) -> None:
        self.sequence = 0
        self.cipher = ""  # name of the TLS cipher, empty without TLS
        self._sock = sock
        self._packet_bytes_max = packet_bytes_max
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, on_gone: Callable[[], None], context: ssl.SSLContext | None) -> None:
        """Switch to a buffered stream, encrypted if there is a ``context``."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = _Protocol(reader, on_gone)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, self._sock, ssl=context)
        transport.set_write_buffer_limits(high=WRITE_AHEAD_BYTES)
        self._reader, self._writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        cipher = transport.get_extra_info("cipher")
        self.cipher = cipher[0] if cipher else ""

    async def read(self) -> bytes:
        """The payload of the next packet. Raises FatalError, or EOFError if the client has disconnected."""
        payload = b""
        while True:
            header = await self._exactly(4)
            length, number = int.from_bytes(header[:3], "little"), header[3]
            if number != self.sequence:
                raise faults.packets_out_of_order()
            if len(payload) + length > self._packet_bytes_max:
                raise faults.packet_too_large()
            self.sequence = (number + 1) & 0xFF
            payload += await self._exactly(length)
            if length < wire.PAYLOAD_MAX:
                return payload

    async def send(self, *payloads: bytes) -> None:
        out = bytearray()
        for payload in payloads:
            framed, self.sequence = wire.frames(payload, self.sequence)
            out += framed
        await self.send_framed(out)

    async def send_error(self, fault: SqlError) -> None:
        await self.send(wire.error(fault))

    async def send_framed(self, data: bytes | bytearray | memoryview) -> None:
        """Send complete packets; returns when at most WRITE_AHEAD_BYTES are buffered."""
        if self._writer is None:
            await asyncio.get_running_loop().sock_sendall(self._sock, data)
        else:
            self._writer.write(data)
            await self._writer.drain()

    async def _exactly(self, count: int) -> bytes:
        if self._reader is not None:
            return await self._reader.readexactly(count)
        loop, data = asyncio.get_running_loop(), b""
        while len(data) < count:
            part = await loop.sock_recv(self._sock, count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def abort(self) -> None:
        """Close the connection at once; unsent bytes are lost."""
        if self._writer is not None:
            self._writer.transport.abort()
        else:
            self._sock.close()

    async def close(self) -> None:
        """Close the connection once everything written has been sent."""
        if self._writer is None:
            self._sock.close()
            return
        self._writer.close()
        try:
            async with asyncio.timeout(2):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):  # ssl.SSLError is an OSError
            self._writer.transport.abort()


class _Protocol(asyncio.StreamReaderProtocol):
    """Reports a disconnect at once, even while nothing is being read, so that the client's query is stopped."""

    def __init__(self, reader: asyncio.StreamReader, on_gone: Callable[[], None]) -> None:
        super().__init__(reader)
        self._on_gone = on_gone

    def eof_received(self) -> bool | None:
        self._on_gone()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_gone()
        super().connection_lost(exc)
