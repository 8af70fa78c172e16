"""The byte layer of one connection: packets out, packets in, and the buffer that rows are decoded from.

::

    packet   | length 3, little-endian | sequence 1 | payload: length bytes |
             a payload of ff ff ff continues in the next packet; a command starts at sequence 0, each packet adds 1

Stdlib only, so that connecting does not wait for numpy and pyarrow. Every wait is bounded by the read timeout and the
deadline of the export, even if the server sends single bytes. :meth:`Wire.abort` may be called from any thread; the
waiting thread then raises Canceled.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from fluxport.errors import Canceled, Unavailable
from fluxport.sources import timeouts
from fluxport.sources.errors import canceled, late
from fluxport.sources.mysql.dsn import Dsn
from fluxport.sources.mysql.servererrors import ServerError
from fluxport.sources.wire.receive import ReceiveBuffer

if TYPE_CHECKING:
    import ssl

PACKET_MAX = 0xFFFFFF  # a packet of this length is followed by one that continues it
BUFFER_BYTES = 16 << 10

_UNIX = getattr(socket, "AF_UNIX", None)  # Windows has none
_KEEPALIVE = (
    ("TCP_KEEPIDLE", timeouts.KEEPALIVE_IDLE_S),
    ("TCP_KEEPINTVL", timeouts.KEEPALIVE_INTERVAL_S),
    ("TCP_KEEPCNT", timeouts.KEEPALIVE_COUNT),
    ("TCP_USER_TIMEOUT", timeouts.UNACKNOWLEDGED_MS),
)


class Wire(ReceiveBuffer):
    """A socket to the server with its receive buffer: ``buffer[start:end]`` is received and not yet consumed."""

    def __init__(self, dsn: Dsn, deadline: float | None = None) -> None:
        """``deadline`` is on the clock of time.monotonic()."""
        super().__init__(BUFFER_BYTES)
        self._dsn = dsn
        self._deadline = deadline
        self._sock: socket.socket | None = None
        self._wait_s = dsn.connect_timeout_s
        self._wait_option = "connect-timeout"
        self._aborted = False
        self.encrypted = False
        self.sequence = 0

    @property
    def local(self) -> bool:
        """Whether the connection is safe from eavesdropping: TLS or a unix socket."""
        return self.encrypted or self._dsn.socket is not None

    def connect(self) -> None:
        """Try each address of the host; Unavailable with ``source_unreachable`` if none responds."""
        try:
            if self._dsn.socket:
                if _UNIX is None:
                    raise self._failed("This system has no Unix sockets: use host and port")
                self._open(_UNIX, self._dsn.socket)
                return
            last: OSError | None = None
            # ASCII names as bytes: Python then does not load its IDNA tables.
            name, port = self._dsn.host, self._dsn.port
            if self._dsn.via_port is not None:
                name, port = "127.0.0.1", self._dsn.via_port
            host = name.encode() if name.isascii() else name
            for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                try:
                    self._open(family, address)
                    return
                except OSError as error:
                    last = error
            raise last or OSError("no address")
        except socket.gaierror:
            raise self._failed(f"The database host {self._dsn.host!r} is not known") from None
        except TimeoutError:
            raise self._failed(f"The database on {self._dsn.place} did not answer in time") from None
        except (OSError, ValueError):  # ValueError: not a valid host name
            raise self._failed(f"No database can be reached on {self._dsn.place}") from None

    def _open(self, family: int, address: object) -> None:
        sock = socket.socket(family, socket.SOCK_STREAM)
        self._sock = sock  # before it connects, so that abort() reaches it
        try:
            sock.settimeout(self._bounded_wait_s())
            sock.connect(address)  # type: ignore[arg-type]  # its type depends on the family
            if family != _UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for name, value in _KEEPALIVE:
                    if hasattr(socket, name):
                        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        except BaseException:
            sock.close()
            raise

    def _failed(self, sentence: str) -> Canceled | Unavailable:
        if self._aborted:
            return Canceled("The export was aborted before the database answered.")
        return Unavailable(f"{sentence}; check host, port and network.", code="source_unreachable")

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Encrypt everything from here on; bytes received before that are refused, as they may be injected."""
        import ssl

        assert self._sock is not None
        if self.start != self.end:
            raise self.broken("sent bytes before TLS began")
        try:
            # Wrapped before the handshake, so that abort() can interrupt it.
            wrapped = context.wrap_socket(self._sock, server_hostname=self._dsn.host, do_handshake_on_connect=False)
            self._sock = wrapped
            wrapped.settimeout(self._bounded_wait_s())
            wrapped.do_handshake()
        except ssl.SSLCertVerificationError as error:
            raise Unavailable(
                f"The certificate of {self._dsn.place} is not trusted: {error.verify_message}. "
                "Check ssl-ca and the host name.",
                code="tls_untrusted",
            ) from None
        except (ssl.SSLError, OSError):
            raise self._failed(f"TLS with {self._dsn.place} could not be established") from None
        self.encrypted = True

    def logged_in(self) -> None:
        """From now on the read timeout applies, not the connect timeout."""
        self._wait_s = self._dsn.read_timeout_s
        self._wait_option = "read-timeout"

    def send(self, payload: bytes, *, sequence: int = 0) -> None:
        """``payload`` as one packet, or several if it is too long for one; a command starts at sequence 0."""
        parts = [payload[at : at + PACKET_MAX] for at in range(0, len(payload) + 1, PACKET_MAX)]
        out = b"".join(
            len(part).to_bytes(3, "little") + bytes([(sequence + k) & 255]) + part for k, part in enumerate(parts)
        )
        self.sequence = (sequence + len(parts)) & 255
        assert self._sock is not None
        try:
            self._sock.settimeout(self._bounded_wait_s())
            self._sock.sendall(out)
        except OSError as error:
            raise self._lost(error) from None

    def command(self, code: int, body: bytes = b"") -> None:
        self.send(bytes([code]) + body)

    def packet(self) -> bytes:
        """The next packet's payload; an error packet raises ServerError."""
        payload = self._whole_packet()
        if payload is None:
            payload = b"".join([bytes(part) for part in self.parts()])
        if payload[:1] == b"\xff":
            raise server_error(payload)
        return payload

    def _whole_packet(self) -> bytes | None:
        """The next payload if it has arrived whole, as most column definitions have."""
        size = int.from_bytes(self.buffer[self.start : self.start + 3], "little")
        if self.end - self.start < 4 + size or size == PACKET_MAX:
            return None
        self._take_header()
        self.start += size
        return bytes(self.buffer[self.start - size : self.start])

    def parts(self) -> Generator[memoryview, None, None]:
        """The next payload in parts as they arrive; a part is valid until the next one is requested."""
        size = PACKET_MAX
        while size == PACKET_MAX:
            self.require(4)
            size = left = self._take_header()
            while left:
                self.require(1)
                until = min(self.end, self.start + left)
                left -= until - self.start
                with memoryview(self.buffer) as view:
                    yield view[self.start : until]
                self.start = until

    def _take_header(self) -> int:
        """Consume the next packet header and return the packet's length; checks the sequence number."""
        head = self.buffer[self.start : self.start + 4]
        if head[3] != self.sequence:
            raise self.broken("sent packets out of order")
        self.sequence = (self.sequence + 1) & 255
        self.start += 4
        return int.from_bytes(head[:3], "little")

    def receive(self, room: memoryview) -> int:
        """1 to ``len(room)`` bytes straight from the socket."""
        assert self._sock is not None
        assert room
        try:
            self._sock.settimeout(self._bounded_wait_s())
            size = self._sock.recv_into(room)
        except OSError as error:
            raise self._lost(error) from None
        if not size:
            raise self._lost(None)
        return size

    def _bounded_wait_s(self) -> float:
        if self._aborted:
            raise canceled()
        if self._deadline is None:
            return self._wait_s
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise late()
        return min(self._wait_s, left)

    def _lost(self, error: OSError | None) -> Canceled | Unavailable:
        if self._aborted:
            return canceled()
        if isinstance(error, TimeoutError):
            if self._deadline is not None and time.monotonic() >= self._deadline:
                return late()
            return Unavailable(
                f"The database on {self._dsn.place} sent nothing for {self._wait_s:g} s; "
                f"try again, or raise {self._wait_option}.",
                code="source_timeout",
                again=self._wait_option == "connect-timeout",
            )
        return Unavailable(
            f"The connection to the database on {self._dsn.place} was lost; try again.",
            code="source_lost",
        )

    def broken(self, what: str) -> Unavailable:
        """The server violates the protocol: nothing that it sent can be trusted."""
        return Unavailable(
            f"The database on {self._dsn.place} {what}; the result cannot be trusted.", code="source_broken"
        )

    def abort(self) -> None:
        """Wake the thread that waits on the socket. May be called from any thread; :meth:`close` closes the socket."""
        self._aborted = True
        if self._sock is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which drops the TLS state that a reading thread still uses.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    @property
    def aborted(self) -> bool:
        return self._aborted

    def close(self) -> None:
        """Close the socket; call it only while no other thread uses it."""
        if self._sock is not None:
            self._sock.close()


def server_error(payload: bytes | bytearray | memoryview) -> ServerError:
    """The error packet ``payload`` (it begins with 0xFF)."""
    raw = bytes(payload)
    number = int.from_bytes(raw[1:3], "little")
    marked = raw[3:4] == b"#"
    state = raw[4:9].decode("ascii", "replace") if marked else "HY000"
    return ServerError(number, state, raw[9 if marked else 3 :].decode("utf-8", "replace"))


def lenenc(value: int) -> bytes:
    """``value`` as a length-encoded integer."""
    if value < 251:
        return bytes([value])
    width, mark = (2, 0xFC) if value < 1 << 16 else (3, 0xFD) if value < 1 << 24 else (8, 0xFE)
    return bytes([mark]) + value.to_bytes(width, "little")


_WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}


def read_lenenc(payload: bytes | bytearray, at: int) -> tuple[int, int]:
    """The length-encoded integer at ``at`` and the position after it; IndexError if it is truncated."""
    first = payload[at]
    if first < 251:
        return first, at + 1
    width = _WIDTHS.get(first, 0)
    if not width or at + 1 + width > len(payload):
        raise IndexError(at)
    return int.from_bytes(payload[at + 1 : at + 1 + width], "little"), at + 1 + width
