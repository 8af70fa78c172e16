"""TLS of a connection of libpq, read and written in large parts: OpenSSL's own functions on the object that libpq
hands out for it (PQsslStruct), called in the very library that libpq uses."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char, c_char_p, c_int, c_void_p
from functools import cache

from fluxport.sources.postgres.libpq import Connection, library

# Results of SSL_get_error.
_WANT_READ, _WANT_WRITE, _ZERO_RETURN = 2, 3, 6


class WantsToWrite(BlockingIOError):
    """To read, TLS has to write first, which would block."""


class WantsToRead(BlockingIOError):
    """To write, TLS has to read first, which would block."""


@cache
def _functions() -> ctypes.CDLL | None:
    """Those of libpq and OpenSSL; None where they are not found through libpq (Windows), or it has other TLS."""
    found = library()
    try:
        found.PQsslStruct.argtypes, found.PQsslStruct.restype = (c_void_p, c_char_p), c_void_p
        found.SSL_read.argtypes = found.SSL_write.argtypes = (c_void_p, c_void_p, c_int)
        found.SSL_get_error.argtypes = (c_void_p, c_int)
        found.ERR_clear_error.restype = None
    except AttributeError:
        return None
    return found


def tls_of(conn: Connection) -> Tls | None:
    """The connection's TLS; None where it cannot be reached."""
    functions = _functions()
    ssl = None if functions is None else functions.PQsslStruct(conn.pointer, b"OpenSSL")
    return Tls(functions, ssl) if functions is not None and ssl else None


class Tls:
    """Like a non-blocking socket; valid while the connection of libpq is, which must not be used meanwhile."""

    def __init__(self, functions: ctypes.CDLL, ssl: int) -> None:
        self._functions = functions
        self._ssl = ssl

    def recv_into(self, room: memoryview) -> int:
        """Bytes received, 0 at the end; BlockingIOError, WantsToWrite, OSError."""
        self._functions.ERR_clear_error()
        size = self._functions.SSL_read(self._ssl, byref(c_char.from_buffer(room)), len(room))
        return self._result(size, _WANT_WRITE, WantsToWrite)

    def send(self, data: memoryview) -> int:
        """Bytes sent; BlockingIOError, WantsToRead, OSError."""
        self._functions.ERR_clear_error()
        size = self._functions.SSL_write(self._ssl, bytes(data), len(data))
        return self._result(size, _WANT_READ, WantsToRead)

    def _result(self, size: int, other: int, wants_other: type[BlockingIOError]) -> int:
        if size > 0:
            return size
        error = self._functions.SSL_get_error(self._ssl, size)
        if error == _ZERO_RETURN:
            return 0
        if error == other:
            raise wants_other
        if error in (_WANT_READ, _WANT_WRITE):
            raise BlockingIOError
        raise OSError(f"TLS ended with error {error}")

    def close(self) -> None:
        """The connection of libpq is closed by libpq."""
