"""TLS of a connection of libpq, read and written in large parts: OpenSSL's own functions on the object that libpq
hands out for it (PQsslStruct), called in the very library that libpq uses."""

from __future__ import annotations

import ctypes
import sys
from ctypes import byref, c_char, c_char_p, c_int, c_void_p
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

# Results of SSL_get_error.
_WANT_READ, _WANT_WRITE, _ZERO_RETURN = 2, 3, 6


class WantsToWrite(BlockingIOError):
    """To read, TLS has to write first, which would block."""


class WantsToRead(BlockingIOError):
    """To write, TLS has to read first, which would block."""


@cache
def _libpq() -> ctypes.CDLL | None:
    """The library that psycopg calls, in which the names of those that it uses are found too; None where they are not
    (Windows), or where it uses another library for TLS."""
    from psycopg import pq

    module = sys.modules.get(f"psycopg_{pq.__impl__}.pq")
    if module is None or module.__file__ is None:
        return None
    try:
        library = ctypes.CDLL(module.__file__)
        library.PQsslStruct.argtypes, library.PQsslStruct.restype = (c_void_p, c_char_p), c_void_p
        library.PQgssEncInUse.argtypes = (c_void_p,)
        library.SSL_read.argtypes = library.SSL_write.argtypes = (c_void_p, c_void_p, c_int)
        library.SSL_get_error.argtypes = (c_void_p, c_int)
        library.ERR_clear_error.restype = None
    except (OSError, AttributeError):
        return None
    return library


def uses_gss(conn: PGconn) -> bool | None:
    """Whether GSSAPI encrypts the connection; None if that is not known."""
    library, pointer = _libpq(), _pointer(conn)
    return None if library is None or pointer is None else bool(library.PQgssEncInUse(pointer))


def tls_of(conn: PGconn) -> Tls | None:
    """The connection's TLS; None where it cannot be reached."""
    library, pointer = _libpq(), _pointer(conn)
    if library is None or pointer is None:
        return None
    ssl = library.PQsslStruct(pointer, b"OpenSSL")
    return Tls(library, ssl) if ssl else None


def _pointer(conn: PGconn) -> int | None:
    """libpq's own object; None once it is closed."""
    pointer: int | None = getattr(conn, "pgconn_ptr", None)
    return pointer


class Tls:
    """Like a non-blocking socket; valid while the connection of libpq is, which must not be used meanwhile."""

    def __init__(self, library: ctypes.CDLL, ssl: int) -> None:
        self._library = library
        self._ssl = ssl

    def recv_into(self, room: memoryview) -> int:
        """Bytes received, 0 at the end; BlockingIOError, WantsToWrite, OSError."""
        self._library.ERR_clear_error()
        size = self._library.SSL_read(self._ssl, byref(c_char.from_buffer(room)), len(room))
        return self._result(size, _WANT_WRITE, WantsToWrite)

    def send(self, data: memoryview) -> int:
        """Bytes sent; BlockingIOError, WantsToRead, OSError."""
        self._library.ERR_clear_error()
        size = self._library.SSL_write(self._ssl, bytes(data), len(data))
        return self._result(size, _WANT_READ, WantsToRead)

    def _result(self, size: int, other: int, wants_other: type[BlockingIOError]) -> int:
        if size > 0:
            return size
        error = self._library.SSL_get_error(self._ssl, size)
        if error == _ZERO_RETURN:
            return 0
        if error == other:
            raise wants_other
        if error in (_WANT_READ, _WANT_WRITE):
            raise BlockingIOError
        raise OSError(f"TLS ended with error {error}")

    def close(self) -> None:
        """The connection of libpq is closed by libpq."""
