"""A TCP proxy before PostgreSQL that loses the answer to one COMMIT: the server has done what was asked, and whoever
asked is not told."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit


class CommitProxy:
    """Listens on a free port of 127.0.0.1 while entered; ``url`` is the target's URL with this port in it.

    The first transaction in which ``statement`` is sent, once ``armed`` is set, is committed, and its connection ends
    before the answer. ``lost`` is set when that has happened.
    """

    def __init__(self, target: str, statement: str) -> None:
        self._target = urlsplit(target)
        self._statement = statement.encode()
        self.armed = threading.Event()
        self.lost = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        user, at, _ = self._target.netloc.rpartition("@")
        port = self._listener.getsockname()[1]
        self.url = self._target._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
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

    def _start(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection((self._target.hostname or "127.0.0.1", self._target.port or 5432))
            except OSError:
                return
            self._sockets += [client, server]
            losing = threading.Event()
            self._start(self._up, client, server, losing)
            self._start(self._down, client, server, losing)

    def _up(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        asked = False
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                asked = asked or (self.armed.is_set() and not self.lost.is_set() and self._statement in data)
                if asked and b"COMMIT\0" in data:
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
