"""How a request ends without an answer: by a failure, by another thread, or because its time is over."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Literal


class Failure(Exception):
    """There is no answer: it took too long, no certificate is trusted, or the connection failed or broke off."""

    def __init__(self, kind: Literal["timeout", "certificate", "connection"], reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Cancel:
    """Ends the requests that were begun with it: waits return, connections break, and none begins any more."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._timer: threading.Timer | None = None
        self.late = False  # whether it was set because the time was over

    def set(self) -> None:
        self._over.set()
        with self._lock:
            for sock in self._sockets:
                _shut(sock)

    def after(self, seconds: float) -> None:
        """Set it ``seconds`` from now; takes the place of an earlier call. :meth:`close` calls it off."""
        self.close()
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def is_set(self) -> bool:
        return self._over.is_set()

    def check(self) -> None:
        """Failure if it is set: the end of a broken connection can pass for that of an answer's head."""
        if self.is_set():
            raise Failure("timeout" if self.late else "connection", "ended before its answer")

    def wait(self, seconds: float) -> bool:
        """Whether it was set within this time."""
        return self._over.wait(seconds)

    def begin(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.add(sock)
            if self._over.is_set():
                _shut(sock)

    def end(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)

    def _expire(self) -> None:
        self.late = True
        self.set()


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        # Not SSLSocket's own, which takes the TLS from under the thread that reads or writes there.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
