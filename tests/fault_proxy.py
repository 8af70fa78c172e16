"""A TCP proxy with faults: after a number of bytes from the server it ends, resets, stalls or slows down."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

Fault = Literal["none", "fin", "rst", "stall", "slow"]


class Proxy:
    """Listens on a free port of 127.0.0.1 while entered, and connects each client with the target by :meth:`_serve`;
    ``url`` is the target's URL with this port in it."""

    def __init__(self, target: str, port: int = 0) -> None:
        self._target = urlsplit(target)
        self._target_port = self._target.port or (5432 if self._target.scheme.startswith("postgres") else 3306)
        self._stop = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        user, at, _ = self._target.netloc.rpartition("@")
        return self._target._replace(netloc=f"{user}{at}127.0.0.1:{self.port}").geturl()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
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

    def _start(self, work: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection((self._target.hostname or "127.0.0.1", self._target_port))
            except OSError:
                return
            self._sockets += [client, server]
            self._serve(client, server)

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """Begin to pass bytes between the two, in threads."""
        raise NotImplementedError


class FaultProxy(Proxy):
    """Every connection passes ``after_bytes`` bytes from the server and then has the ``fault``: ``fin`` an orderly end
    (a stream cut off), ``rst`` a reset, ``stall`` silence on an open socket, ``slow`` a limited rate from then on.
    ``faulted`` is set when that has happened. A fault of "none" passes everything and counts ``passed_bytes``.
    ``upward`` applies it to what the client sends; if given, only the first ``connections`` fail.
    """

    def __init__(
        self,
        target: str,
        fault: Fault = "none",
        after_bytes: int = 0,
        slow_bytes_s: int = 1024,
        port: int = 0,
        *,
        upward: bool = False,
        connections: int | None = None,
    ) -> None:
        super().__init__(target, port)
        self._fault = fault
        self._after_bytes = after_bytes
        self._slow_bytes_s = slow_bytes_s
        self._upward = upward
        self._left = connections
        self.faulted = threading.Event()
        self.passed_bytes = 0

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        fault: Fault = self._fault if self._left is None or self._left > 0 else "none"
        if self._left is not None:
            self._left -= 1
        if self._upward:
            self._start(self._down, client, server, None, "none")
            self._start(self._up, client, server, fault)
        else:
            self._start(self._down, client, server, self._start(self._up, client, server, "none"), fault)

    def _up(self, client: socket.socket, server: socket.socket, fault: Fault) -> None:
        left = self._after_bytes
        try:
            while (fault == "none" or left) and (data := client.recv(65536 if fault == "none" else min(65536, left))):
                left -= len(data)
                server.sendall(data)
            if fault != "none" and not left:
                self._go_wrong(server, client, None, fault)
        except OSError:  # the server takes no more
            self._close(client)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    @staticmethod
    def _close(client: socket.socket) -> None:
        """Reset, so that a client that continues to send gets an error; after a shutdown it would wait for buffer
        space."""
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()

    def _down(self, client: socket.socket, server: socket.socket, up: threading.Thread | None, fault: Fault) -> None:
        left = self._after_bytes
        with contextlib.suppress(OSError):
            while fault == "none" or left:
                data = server.recv(65536 if fault == "none" else min(65536, left))
                if not data:
                    client.shutdown(socket.SHUT_WR)
                    return
                left -= len(data)
                self.passed_bytes += len(data)
                client.sendall(data)
            self._go_wrong(client, server, up, fault)

    def _go_wrong(self, to: socket.socket, source: socket.socket, up: threading.Thread | None, fault: Fault) -> None:
        """Between ``source``, which sends, and ``to``, which was to receive it; a reset is always the client's."""
        self.faulted.set()
        if fault == "fin":
            to.shutdown(socket.SHUT_RDWR)
            if self._upward:
                self._close(source)
            else:
                source.shutdown(socket.SHUT_RDWR)
        elif fault == "rst":
            client, server = (source, to) if self._upward else (to, source)
            client.shutdown(socket.SHUT_RD)  # a socket that another thread reads is not closed by close()
            if up is not None:
                up.join(5)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            server.shutdown(socket.SHUT_RDWR)
        elif fault == "stall":
            self._stop.wait()
        else:
            step = max(1, self._slow_bytes_s // 20)
            while not self._stop.wait(0.05) and (data := source.recv(step)):
                to.sendall(data)
