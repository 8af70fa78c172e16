"""Requests that end without a response: they fail, another thread aborts them, or their time limit passes."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Literal


class Failure(Exception):
    """No response: a timeout, an untrusted certificate, or a failed or lost connection."""

    def __init__(self, kind: Literal["timeout", "certificate", "connection"], reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Cancel:
    """Aborts the requests that use it: waits return, connections are shut down, and no new request starts."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._timer: threading.Timer | None = None
        self.late = False  # whether it was set by its time limit

    def set(self) -> None:
        self._over.set()
        with self._lock:
            for sock in self._sockets:
                _shut(sock)

    def after(self, seconds: float) -> None:
        """Set it ``seconds`` from now, replacing an earlier call. :meth:`close` cancels the timer."""
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
        """Failure if it is set: the end of an aborted connection can look like the end of a response's head."""
        if self.is_set():
            raise Failure("timeout" if self.late else "connection", "aborted before its response")

    def wait(self, seconds: float) -> bool:
        """Wait for at most this time; returns whether it was set."""
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
        # Not SSLSocket.shutdown, which removes the TLS layer while another thread reads or writes.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
