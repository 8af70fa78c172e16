"""How a sleeping worker is woken: by another thread of its process, by any process that queues a job, or by a timeout.

PostgreSQL uses LISTEN/NOTIFY. On SQLite the queueing process sets the modification time of the database file, and
inotify reports that: this leaves nothing to clean up, and every user who may write the database can wake workers.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import socket
import sys
import time
from typing import Any

import sqlalchemy as sa

from fluxport.systems import ready

CHANNEL = "fluxport_jobs"
LISTEN_AGAIN_S = 5.0
LOOK_EVERY_S = 0.05  # polling of the modification time, without inotify
_IN_ATTRIB = 0x4


class Wake:
    """``wait`` sleeps; ``wake``, from any thread of this process, ends it. Only one thread may wait."""

    def __init__(self, engine: sa.Engine) -> None:
        self._out, self._in = socket.socketpair()  # on Windows only sockets can be waited for
        self._out.setblocking(False)
        self._in.setblocking(False)
        self._outside: _Listener | _FileTime
        self._outside = _Listener(engine) if engine.dialect.name == "postgresql" else _FileTime(engine)

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the buffer is full, so the waiting thread will wake
            self._in.send(b"!")

    def wait(self, most_s: float) -> None:
        """Sleep until woken, at most ``most_s`` seconds."""
        if self._outside.prepare():
            return  # a job may have been queued before listening began
        outside = self._outside.fileno()
        waiting = [self._out.fileno()] if outside is None else [self._out.fileno(), outside]
        until = time.monotonic() + most_s
        while True:
            left_s = max(until - time.monotonic(), 0.0)
            if ready(min(left_s, self._outside.most_s), waiting) or self._outside.changed() or not left_s:
                break
        with contextlib.suppress(BlockingIOError):
            self._out.recv(4096)
        self._outside.read()

    def close(self) -> None:
        self._outside.close()
        self._out.close()
        self._in.close()


class _Listener:
    """A listening PostgreSQL session, which is reopened when it breaks."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._session: Any = None
        self._next_try = 0.0

    @property
    def most_s(self) -> float:
        return LISTEN_AGAIN_S if self._session is None else math.inf

    def prepare(self) -> bool:
        """Open the session if there is none; returns whether listening has just begun."""
        if self._session is not None or time.monotonic() < self._next_try:
            return False
        import psycopg

        self._next_try = time.monotonic() + LISTEN_AGAIN_S
        with contextlib.suppress(sa.exc.SQLAlchemyError, psycopg.Error), contextlib.ExitStack() as failed:
            pooled = self._engine.raw_connection()
            session: Any = pooled.driver_connection
            pooled.detach()  # so that it takes no place in the pool
            failed.callback(session.close)
            session.autocommit = True
            session.execute(f"LISTEN {CHANNEL}")
            failed.pop_all()
            self._session = session
        return self._session is not None

    def fileno(self) -> int | None:
        return None if self._session is None else int(self._session.fileno())

    def changed(self) -> bool:
        return self._session is None

    def read(self) -> None:
        import psycopg

        if self._session is None:
            return
        try:
            self._session.pgconn.consume_input()
            while self._session.pgconn.notifies() is not None:
                pass
        except psycopg.Error:
            self.close()

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


class _FileTime:
    """The modification time of an SQLite database file: reported by inotify on Linux, polled elsewhere."""

    def __init__(self, engine: sa.Engine) -> None:
        self._path = engine.url.database or ""
        self._seen = self._time()
        self._watch = _inotify(self._path)

    @property
    def most_s(self) -> float:
        return LOOK_EVERY_S if self._watch is None else math.inf

    def prepare(self) -> bool:
        return False

    def fileno(self) -> int | None:
        return self._watch

    def changed(self) -> bool:
        return self._watch is None and self._time() != self._seen

    def read(self) -> None:
        self._seen = self._time()
        if self._watch is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._watch, 4096)

    def close(self) -> None:
        if self._watch is not None:
            os.close(self._watch)

    def _time(self) -> int:
        try:
            return os.stat(self._path).st_mtime_ns
        except OSError:
            return 0


def _inotify(path: str) -> int | None:
    """A descriptor that becomes readable when the file's times change; None if inotify is unavailable."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    watch: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if watch < 0:
        return None
    if libc.inotify_add_watch(watch, os.fsencode(path), _IN_ATTRIB) < 0:
        os.close(watch)
        return None
    return watch
