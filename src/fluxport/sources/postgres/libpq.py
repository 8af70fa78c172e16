"""libpq by ctypes: the functions that the source calls, under their own names in methods.

psycopg brings the library with it (its extra ``binary``). Its own layer over libpq is not used, because importing it
loads the whole package: 166 modules, 16 MB and a tenth of a second, a third of what an export takes to start.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_uint, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

CONNECTION_BAD = 1
POLLING_FAILED, POLLING_READING, POLLING_WRITING, POLLING_OK = range(4)
BAD_RESPONSE, FATAL_ERROR = 5, 7  # of the statuses of a result
SQLSTATE, SEVERITY, MESSAGE = (ord(letter) for letter in "CVM")  # fields of an error; the severity is not translated
CANCEL_MESSAGE_BYTES = 256


class _Option(ctypes.Structure):
    """PQconninfoOption."""

    _fields_ = (
        ("keyword", c_char_p),
        ("envvar", c_char_p),
        ("compiled", c_char_p),
        ("val", c_char_p),
        ("label", c_char_p),
        ("dispchar", c_char_p),
        ("dispsize", c_int),
    )


_NOTICE_RECEIVER = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)
_Names = POINTER(c_char_p)
# Functions: what they return, and what they take.
_CONN: tuple[Any, ...] = (c_void_p,)
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "PQconninfoParse": (POINTER(_Option), (c_char_p, POINTER(c_void_p))),
    "PQconninfo": (POINTER(_Option), _CONN),
    "PQconninfoFree": (None, (POINTER(_Option),)),
    "PQfreemem": (None, _CONN),
    "PQconnectStartParams": (c_void_p, (_Names, _Names, c_int)),
    "PQconnectPoll": (c_int, _CONN),
    "PQstatus": (c_int, _CONN),
    "PQsocket": (c_int, _CONN),
    "PQerrorMessage": (c_char_p, _CONN),
    "PQhost": (c_char_p, _CONN),
    "PQhostaddr": (c_char_p, _CONN),
    "PQport": (c_char_p, _CONN),
    "PQuser": (c_char_p, _CONN),
    "PQdb": (c_char_p, _CONN),
    "PQparameterStatus": (c_char_p, (c_void_p, c_char_p)),
    "PQsslInUse": (c_int, _CONN),
    "PQgssEncInUse": (c_int, _CONN),
    "PQsetnonblocking": (c_int, (c_void_p, c_int)),
    "PQsetNoticeReceiver": (c_void_p, (c_void_p, _NOTICE_RECEIVER, c_void_p)),
    "PQsendQueryParams": (c_int, (c_void_p, c_char_p, c_int, *[c_void_p] * 4, c_int)),
    "PQsendPrepare": (c_int, (c_void_p, c_char_p, c_char_p, c_int, c_void_p)),
    "PQsendDescribePrepared": (c_int, (c_void_p, c_char_p)),
    "PQflush": (c_int, _CONN),
    "PQisBusy": (c_int, _CONN),
    "PQconsumeInput": (c_int, _CONN),
    "PQgetResult": (c_void_p, _CONN),
    "PQgetCopyData": (c_int, (c_void_p, POINTER(c_void_p), c_int)),
    "PQescapeLiteral": (c_void_p, (c_void_p, c_char_p, ctypes.c_size_t)),
    "PQfinish": (None, _CONN),
    "PQgetCancel": (c_void_p, _CONN),
    "PQcancel": (c_int, (c_void_p, POINTER(c_char), c_int)),
    "PQfreeCancel": (None, _CONN),
    "PQclear": (None, _CONN),
    "PQresultStatus": (c_int, _CONN),
    "PQresultErrorField": (c_char_p, (c_void_p, c_int)),
    "PQnfields": (c_int, _CONN),
    "PQfname": (c_char_p, (c_void_p, c_int)),
    "PQftype": (c_uint, (c_void_p, c_int)),
    "PQfmod": (c_int, (c_void_p, c_int)),
    "PQgetvalue": (c_void_p, (c_void_p, c_int, c_int)),
    "PQgetlength": (c_int, (c_void_p, c_int, c_int)),
    "PQcmdTuples": (c_char_p, _CONN),
}
# Of libpq 17, whose requests to cancel are encrypted as the connection is.
_ENCRYPTED_CANCEL: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "PQcancelCreate": (c_void_p, _CONN),
    "PQcancelBlocking": (c_int, _CONN),
    "PQcancelFinish": (None, _CONN),
}


class LibpqError(Exception):
    """libpq reports a failure; the text is its own."""


@cache
def library() -> ctypes.CDLL:
    """libpq, or a library through which its functions and those that it uses are found; ImportError if none is
    installed."""
    for path in _candidates():
        try:
            found = ctypes.CDLL(path)
            newer = _ENCRYPTED_CANCEL if hasattr(found, "PQcancelCreate") else {}
            for name, (result, arguments) in (_FUNCTIONS | newer).items():
                function = getattr(found, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        return found
    raise ImportError("libpq")


def _candidates() -> Iterator[str]:
    for package in ("psycopg_binary", "psycopg_c"):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield from map(str, sorted(Path(folder).glob("pq.*.so")))
            yield from map(str, sorted(Path(folder).parent.glob(f"{package}.libs/libpq*.dll")))
    from ctypes.util import find_library

    system = find_library("pq")
    if system is not None:
        yield system


def parsed(address: str) -> dict[str, str]:
    """The options of a URL; LibpqError if it is none."""
    error = c_void_p()
    options = library().PQconninfoParse(address.encode(), byref(error))
    if not options:
        library().PQfreemem(error)
        raise LibpqError
    return _given(options)


def _given(options: Any) -> dict[str, str]:
    """The options that have a value; ``options`` is freed."""
    found = {}
    index = 0
    while (keyword := options[index].keyword) is not None:
        if options[index].val is not None:
            found[keyword.decode()] = options[index].val.decode(errors="replace")
        index += 1
    library().PQconninfoFree(options)
    return found


class Result:
    """A result, which is freed with it; one that is not ``owned`` is libpq's."""

    def __init__(self, pointer: int, *, owned: bool = True) -> None:
        self._pointer = pointer
        self._free = library().PQclear if owned else None

    def __del__(self) -> None:
        if self._free is not None:
            self._free(self._pointer)

    @property
    def failed(self) -> bool:
        return library().PQresultStatus(self._pointer) in (BAD_RESPONSE, FATAL_ERROR)

    def error_field(self, field: int) -> str:
        """Empty if there is none."""
        return (library().PQresultErrorField(self._pointer, field) or b"").decode(errors="replace")

    @property
    def columns(self) -> int:
        return int(library().PQnfields(self._pointer))

    def name(self, column: int) -> str:
        return (library().PQfname(self._pointer, column) or b"").decode(errors="replace")

    def type(self, column: int) -> tuple[int, int]:
        """The type's number and its modifier."""
        return int(library().PQftype(self._pointer, column)), int(library().PQfmod(self._pointer, column))

    def text(self, row: int, column: int) -> str:
        """Empty for NULL."""
        size = library().PQgetlength(self._pointer, row, column)
        value = ctypes.string_at(library().PQgetvalue(self._pointer, row, column), size)
        return value.decode(errors="replace")

    @property
    def rows_counted(self) -> int:
        """The rows of a COPY, as the server counts them."""
        return int(library().PQcmdTuples(self._pointer) or b"0")


class Connection:
    """A connection that does not block; it is being established when this returns, until :meth:`poll` says so.

    ``pointer`` is libpq's own object; nothing may be called after :meth:`finish`.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        keywords = (c_char_p * (len(options) + 1))(*(name.encode() for name in options), None)
        values = (c_char_p * (len(options) + 1))(*(value.encode() for value in options.values()), None)
        self.pointer: int | None = library().PQconnectStartParams(keywords, values, 0)
        if not self.pointer:
            raise MemoryError
        self._receiver: Any = None

    def poll(self) -> int:
        """One of POLLING_...; POLLING_FAILED also where the connection could not be begun."""
        if library().PQstatus(self.pointer) == CONNECTION_BAD:
            return POLLING_FAILED
        polled = int(library().PQconnectPoll(self.pointer))
        if polled == POLLING_OK:
            library().PQsetnonblocking(self.pointer, 1)
        return polled

    @property
    def bad(self) -> bool:
        return bool(library().PQstatus(self.pointer) == CONNECTION_BAD)

    @property
    def socket(self) -> int:
        return int(library().PQsocket(self.pointer))

    @property
    def uses_tls(self) -> bool:
        return bool(library().PQsslInUse(self.pointer))

    @property
    def uses_gss(self) -> bool:
        """Whether GSSAPI encrypts the connection."""
        return bool(library().PQgssEncInUse(self.pointer))

    @property
    def message(self) -> str:
        """Of the last error."""
        return (library().PQerrorMessage(self.pointer) or b"").decode(errors="replace").strip()

    @property
    def place(self) -> tuple[str, int]:
        """The host's address, or its name or the folder of its socket, and the port."""
        host = library().PQhostaddr(self.pointer) or library().PQhost(self.pointer) or b""
        return host.decode(errors="replace"), int(library().PQport(self.pointer) or b"5432")

    @property
    def user(self) -> bytes:
        return library().PQuser(self.pointer) or b""

    @property
    def database(self) -> bytes:
        return library().PQdb(self.pointer) or b""

    @property
    def given(self) -> dict[str, str]:
        """The options that have a value, wherever it came from."""
        return _given(library().PQconninfo(self.pointer))

    def parameter_status(self, name: bytes) -> bytes | None:
        value: bytes | None = library().PQparameterStatus(self.pointer, name)
        return value

    def on_notice(self, handle: Callable[[Result], None]) -> None:
        self._receiver = _NOTICE_RECEIVER(lambda _, result: handle(Result(result, owned=False)))
        library().PQsetNoticeReceiver(self.pointer, self._receiver, None)

    def send(self, statement: bytes) -> None:
        """In the extended protocol, which allows no second one in the text."""
        self._checked(library().PQsendQueryParams(self.pointer, statement, 0, None, None, None, None, 0))

    def send_prepare(self, statement: bytes) -> None:
        self._checked(library().PQsendPrepare(self.pointer, b"", statement, 0, None))

    def send_describe(self) -> None:
        self._checked(library().PQsendDescribePrepared(self.pointer, b""))

    def flush(self) -> bool:
        """Whether there is more to send."""
        left = int(library().PQflush(self.pointer))
        self._checked(left >= 0)
        return left > 0

    @property
    def busy(self) -> bool:
        return bool(library().PQisBusy(self.pointer))

    def consume(self) -> None:
        self._checked(library().PQconsumeInput(self.pointer))

    def result(self) -> Result | None:
        pointer = library().PQgetResult(self.pointer)
        return Result(pointer) if pointer else None

    def copy_data(self) -> tuple[int, bytes]:
        """PQgetCopyData's result, and the row if that is its size."""
        buffer = c_void_p()
        size = int(library().PQgetCopyData(self.pointer, byref(buffer), 1))
        if size <= 0:
            return size, b""
        row = ctypes.string_at(buffer, size)
        library().PQfreemem(buffer)
        return size, row

    def quoted(self, text: bytes) -> bytes:
        """``text`` as a literal."""
        pointer = library().PQescapeLiteral(self.pointer, text, len(text))
        self._checked(pointer)
        literal = ctypes.string_at(pointer)
        library().PQfreemem(pointer)
        return literal

    def cancel(self) -> Callable[[], None]:
        """A function that asks the server to end the query, and may block until TCP gives up; it works on its own copy
        of the address."""
        functions = library()
        if hasattr(functions, "PQcancelCreate"):
            request = functions.PQcancelCreate(self.pointer)

            def ask() -> None:
                functions.PQcancelBlocking(request)
                functions.PQcancelFinish(request)

            return ask
        request = functions.PQgetCancel(self.pointer)

        def ask_plainly() -> None:
            functions.PQcancel(request, ctypes.create_string_buffer(CANCEL_MESSAGE_BYTES), CANCEL_MESSAGE_BYTES)
            functions.PQfreeCancel(request)

        return ask_plainly

    def finish(self) -> None:
        library().PQfinish(self.pointer)
        self.pointer = None

    def _checked(self, done: object) -> None:
        if not done:
            raise LibpqError(self.message)
