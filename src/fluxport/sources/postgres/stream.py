"""The socket of a connection while we, and not libpq, send and receive on it: what ``COPY`` sends is read in large
parts, where libpq takes a call for each row.

::

    message  | kind 1 | length 4, big-endian: itself and the payload | payload |
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from fluxport.errors import FluxportError
from fluxport.sources.postgres.encrypted import Tls, WantsToRead, WantsToWrite
from fluxport.sources.wire.receive import ReceiveBuffer

BUFFER_BYTES = 64 << 10
HEAD_BYTES = 5


class Stream(ReceiveBuffer):
    """``wait(reading, writing)`` returns when the socket is ready, or raises; ``lost()`` is the error to raise when the
    connection is. ``channel`` is the socket itself, or TLS on it; neither blocks."""

    def __init__(
        self,
        channel: socket.socket | Tls,
        wait: Callable[[bool, bool], None],
        lost: Callable[[str | None], FluxportError],
    ) -> None:
        super().__init__(BUFFER_BYTES)
        self._channel = channel
        self._wait = wait
        self._lost = lost

    def execute(self, statement: bytes) -> None:
        """Send ``statement`` in the extended protocol, which allows no second one in the text."""
        out = memoryview(
            b"".join(
                (
                    _message(b"P", b"\0" + statement + b"\0" + bytes(2)),  # parse: unnamed, no parameters
                    _message(b"B", bytes(8)),  # bind: unnamed, no formats, no parameters, no formats of results
                    _message(b"E", bytes(5)),  # execute: unnamed, all rows
                    _message(b"S", b""),  # sync
                )
            )
        )
        while out:
            try:
                out = out[self._channel.send(out) :]
            except BlockingIOError as blocked:
                self._wait(isinstance(blocked, WantsToRead), not isinstance(blocked, WantsToRead))
            except OSError as error:
                raise self._lost(str(error)) from None

    def receive(self, room: memoryview) -> int:
        while True:
            try:
                size = self._channel.recv_into(room)
            except BlockingIOError as blocked:
                self._wait(not isinstance(blocked, WantsToWrite), isinstance(blocked, WantsToWrite))
            except OSError as error:
                raise self._lost(str(error)) from None
            else:
                if not size:
                    raise self._lost(None)
                return size

    def head(self) -> tuple[int, int]:
        """The kind of the next message, and the length of its payload; nothing is consumed."""
        self.require(HEAD_BYTES)
        kind, length = struct.unpack_from(">Bi", self.buffer, self.start)
        return kind, length - 4

    def payload(self, bytes_max: int) -> bytes:
        """Consume the next message, however large; returns the first ``bytes_max`` bytes of its payload."""
        _, size = self.head()
        kept = min(size, bytes_max)
        self.require(HEAD_BYTES + kept)
        self.start += HEAD_BYTES + kept
        payload = bytes(self.buffer[self.start - kept : self.start])
        self._skip(size - kept)
        return payload

    def _skip(self, size: int) -> None:
        while size:
            self.require(1)
            skipped = min(size, self.end - self.start)
            self.start += skipped
            size -= skipped

    def close(self) -> None:
        self._channel.close()


def _message(kind: bytes, payload: bytes) -> bytes:
    return kind + (len(payload) + 4).to_bytes(4, "big") + payload
