"""A TCP proxy before PostgreSQL that loses the response to one COMMIT: the server has committed, and the client does
not know."""

from __future__ import annotations

import contextlib
import socket
import threading

from fault_proxy import Proxy


class CommitProxy(Proxy):
    """The first transaction in which ``statement`` is sent, once ``armed`` is set, is committed, and its connection
    ends before the answer. ``lost`` is set when that has happened."""

    def __init__(self, target: str, statement: str) -> None:
        super().__init__(target)
        self._statement = statement.encode()
        self.armed = threading.Event()
        self.lost = threading.Event()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        losing = threading.Event()
        self._start(self._up, client, server, losing)
        self._start(self._down, client, server, losing)

    def _up(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        matched = False
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                matched = matched or (self.armed.is_set() and not self.lost.is_set() and self._statement in data)
                if matched and b"COMMIT\0" in data:
                    losing.set()
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _down(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 20):
                if losing.is_set():
                    self.lost.set()
                    break
                client.sendall(data)
        for sock in (client, server):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
