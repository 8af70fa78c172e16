"""A non-blocking libpq connection: every wait ends at its deadline or when the export is canceled.

Only the pulling thread uses the connection: it calls ``check`` between waits of CHECK_EVERY_S, and cancels the query
on the server itself.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import unquote

from fluxport.errors import FluxportError, QueryFailed, Refused, Unavailable
from fluxport.pgrefusal import refusal_state
from fluxport.sources import timeouts
from fluxport.sources.postgres import libpq
from fluxport.sources.postgres.encrypted import Tls, tls_of
from fluxport.sources.postgres.sqlstate import translated
from fluxport.sources.postgres.stream import Stream
from fluxport.systems import ready

CHECK_EVERY_S = 0.05
CANCEL_WAIT_S = 2.0
REFUSAL_WAIT_S = 2.0
# tcpi_bytes_received in Linux's struct tcp_info.
_BYTES_RECEIVED = slice(128, 136)
_TCP_INFO_BYTES = 136
# libpq's option, the option of the socket, the value.
_KEEPALIVE = (
    ("keepalives_idle", "TCP_KEEPIDLE", timeouts.KEEPALIVE_IDLE_S),
    ("keepalives_interval", "TCP_KEEPINTVL", timeouts.KEEPALIVE_INTERVAL_S),
    ("keepalives_count", "TCP_KEEPCNT", timeouts.KEEPALIVE_COUNT),
    ("tcp_user_timeout", "TCP_USER_TIMEOUT", timeouts.UNACKNOWLEDGED_MS),
)


class Link:
    """Not connected before :meth:`connect`; ``check`` raises if the export is canceled or past its deadline."""

    def __init__(
        self, options: Mapping[str, str], check: Callable[[], None], connect_timeout_s: float, read_timeout_s: float
    ) -> None:
        self._options = options
        self._check_export = check
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._conn: libpq.Connection | None = None
        self._stream: Stream | None = None
        self._running = False
        self.warnings: Counter[str] = Counter()  # by SQLSTATE, sent along with the rows

    @property
    def conn(self) -> libpq.Connection:
        assert self._conn is not None
        return self._conn

    def connect(self) -> None:
        conn = self._conn = libpq.Connection(self._options)
        until = time.monotonic() + self._connect_timeout_s
        status = libpq.POLLING_FAILED if conn.bad else libpq.POLLING_WRITING
        while status != libpq.POLLING_OK:
            if status == libpq.POLLING_FAILED:
                raise self._refused_or_unreachable()
            reading = status == libpq.POLLING_READING
            if not self._wait(reading, not reading, until):
                raise Unavailable(
                    f"The database did not answer within {self._connect_timeout_s:g} s; check host, port and network.",
                    code="source_unreachable",
                )
            status = conn.poll()
        self._keep_alive(conn)

    def _keep_alive(self, conn: libpq.Connection) -> None:
        """Set what nobody has set: the URL, or a service file."""
        given = conn.given
        with suppress(OSError), socket.socket(fileno=os.dup(conn.socket)) as same:  # unix sockets have no such options
            for option, name, value in _KEEPALIVE:
                if option not in given and hasattr(socket, name):
                    same.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def _refused_or_unreachable(self) -> FluxportError:
        """The error of a connection that failed."""
        conn, message = self.conn, self.conn.message
        try:
            state = refusal_state(*conn.place, conn.user, conn.database, REFUSAL_WAIT_S)
        except (OSError, ValueError):  # ValueError: several ports
            return Unavailable(
                "The database cannot be reached; check host, port and network.",
                code="source_unreachable",
                detail=message,
            )
        if state:
            return translated(state, message)
        return QueryFailed(
            "The database refused the login; check user, password, database and sslmode.",
            code="login_refused",
            detail=message,
        )

    def run(self, statement: str) -> libpq.Result:
        """The result of one statement in the extended protocol, which allows no second one in the text."""
        self._running = True
        self.conn.send(statement.encode())
        return self._last_result()

    def describe(self, statement: str) -> libpq.Result:
        """Names and types of the statement's columns."""
        self._running = True
        self.conn.send_prepare(statement.encode())
        self._last_result()
        self._running = True
        self.conn.send_describe()
        return self._last_result()

    def stream(self) -> Stream | None:
        """The connection, for statements that we send and whose results we receive; libpq can only close it then. None
        if only libpq can read it: GSSAPI encrypts it, or this system cannot share what libpq uses."""
        channel = self._channel()
        if channel is None:
            return None
        self._stream = Stream(channel, self._until_ready, self.lost)
        self._running = True
        return self._stream

    def _channel(self) -> socket.socket | Tls | None:
        if self.conn.uses_tls:
            return tls_of(self.conn)
        if self.conn.uses_gss:
            return None
        try:
            same = socket.socket(fileno=os.dup(self.conn.socket))
        except OSError:
            return None
        same.setblocking(False)
        return same

    def idle(self) -> None:
        """The statement has ended on the server."""
        self._running = False

    def failed(self, state: str, message: str) -> FluxportError:
        """The error of a statement that the server has ended with an error."""
        self._check_export()
        self._running = False
        return translated(state, message) if state else self.lost(message)

    def noticed(self, severity: str, state: str) -> None:
        """Count warnings; NOTICE, INFO and the like do not concern the result."""
        if severity == "WARNING":
            self.warnings[state] += 1

    def copy(self, statement: str) -> None:
        """Start ``COPY ... TO STDOUT``; :meth:`row` returns its rows."""
        self._running = True
        self.conn.on_notice(
            lambda notice: self.noticed(notice.error_field(libpq.SEVERITY), notice.error_field(libpq.SQLSTATE))
        )
        self.conn.send(statement.encode())
        self._flush()
        self._receive()
        result = self.conn.result()
        if result is None:
            raise self.lost()
        self._check(result)

    def row(self, bytes_max: int) -> bytes | None:
        """The next row of COPY; None after the last one, when :meth:`copied` returns or raises the outcome.

        libpq buffers a whole row before it returns it; OverflowError once more than ``bytes_max`` of it have arrived.
        """
        waits = before = 0
        while True:
            size, data = self.conn.copy_data()
            if size > 0:
                return data
            if size == -1:
                return None
            if size == -2:
                raise self.lost()
            self._readable()
            waits += 1  # at most one for most rows, whose bytes need no counting
            if waits == 2:
                before = self._received()
            elif waits > 2 and self._received() - before > bytes_max:
                raise OverflowError

    def copied(self) -> int:
        """The number of rows that the server reports as sent."""
        return self._last_result().rows_counted

    def end(self) -> None:
        """Cancel a running query and disconnect; never raises."""
        conn, self._conn = self._conn, None
        if self._stream is not None:
            self._stream.close()
        if conn is not None:
            if self._running:
                with suppress(Exception):
                    self._cancel(conn)
            conn.finish()

    def _cancel(self, conn: libpq.Connection) -> None:
        canceling = threading.Thread(target=conn.cancel(), daemon=True)
        canceling.start()
        canceling.join(CANCEL_WAIT_S)

    def _last_result(self) -> libpq.Result:
        """The last result of the command that was sent; raises the translated error of any of its results."""
        self._flush()
        last = None
        while True:
            self._receive()
            result = self.conn.result()
            if result is None:
                break
            last = result
            self._check(result)
        self._running = False
        if last is None:
            raise self.lost()
        return last

    def _check(self, result: libpq.Result) -> None:
        if result.failed:
            raise self.failed(result.error_field(libpq.SQLSTATE), result.error_field(libpq.MESSAGE))

    def _flush(self) -> None:
        while self.conn.flush():
            self._until_ready(writing=True)

    def _receive(self) -> None:
        while self.conn.busy:
            self._readable()

    def _readable(self) -> None:
        self._until_ready()
        self._consume()

    def _received(self) -> int:
        """The number of bytes that have arrived, as counted by the kernel; always 0 where it does not count them."""
        with suppress(OSError, AttributeError), socket.socket(fileno=os.dup(self.conn.socket)) as same:
            tcp_info = same.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            return int.from_bytes(tcp_info[_BYTES_RECEIVED], sys.byteorder)
        return 0

    def _consume(self) -> None:
        try:
            self.conn.consume()
        except libpq.LibpqError as error:
            raise self.lost(str(error)) from None

    def _until_ready(self, reading: bool = True, writing: bool = False) -> None:
        if not self._wait(reading, writing, time.monotonic() + self._read_timeout_s):
            raise Unavailable(
                f"The database sent nothing for {self._read_timeout_s:g} s; try again, or raise read-timeout.",
                code="source_timeout",
                again=False,
            )

    def _wait(self, reading: bool, writing: bool, until: float) -> bool:
        """Whether the socket became ready before ``until``; Canceled or TimedOut if the export ended meanwhile."""
        connected = [self.conn.socket]
        while not ready(CHECK_EVERY_S, connected if reading else (), connected if writing else ()):
            self._check_export()
            if time.monotonic() >= until:
                return False
        return True

    def lost(self, message: str | None = None) -> FluxportError:
        """The error of a connection that broke."""
        return Unavailable("The connection to the database was lost; try again.", code="source_lost", detail=message)


def conninfo(url: str, defaults: Mapping[str, float]) -> tuple[dict[str, str], float, float]:
    """The URL as libpq's options, and the timeouts for connecting and reading, from the URL or else ``defaults``.

    Refused if libpq cannot parse the URL; the message does not repeat it.
    """
    try:
        libpq.library()
    except ImportError:
        raise Refused(
            "PostgreSQL needs the package psycopg: pip install 'fluxport[postgres]'.", code="missing_extra"
        ) from None
    url, url_timeouts = _without_timeouts(url)
    waits_s = {**defaults, **url_timeouts}
    connect_s = waits_s.get("connect_timeout_s") or _environments_timeout() or timeouts.CONNECT_TIMEOUT_S
    # What else could be set here would override libpq's environment and service files.
    fixed = {"fallback_application_name": "fluxport", "client_encoding": "UTF8"}
    try:
        options = libpq.parsed(url) | fixed
        if not re.fullmatch(r"[0-9,]*", options.get("port", "")):
            raise libpq.LibpqError
    except libpq.LibpqError:
        raise Refused(
            "The PostgreSQL data source is invalid: write postgresql://user:password@host:5432/database "
            "(percent-encode '/', '@', ':', '#', '?' of a password; options are libpq's, such as sslmode=require, "
            "and connect-timeout and read-timeout).",
            code="bad_dsn",
        ) from None
    return options, connect_s, waits_s.get("read_timeout_s", timeouts.READ_TIMEOUT_S)


def _environments_timeout() -> float | None:
    """PGCONNECT_TIMEOUT, which libpq applies only where it waits itself; None where it is not a number above 0."""
    return timeouts.timeout(os.environ.get("PGCONNECT_TIMEOUT", "").strip())


def _without_timeouts(url: str) -> tuple[str, dict[str, float]]:
    """``url`` with libpq's own options only, and the timeouts from the others."""
    place, mark, query = url.partition("?")
    libpq_options: list[str] = []
    waits_s: dict[str, float] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        field = timeouts.field_of(unquote(name))
        if field is None:
            libpq_options.append(pair)
        elif (seconds := timeouts.timeout(unquote(value))) is not None:
            waits_s[field] = seconds
        else:
            raise Refused(f"The PostgreSQL data source is invalid: {timeouts.refused(unquote(name))}.", code="bad_dsn")
    return place + (mark + "&".join(libpq_options) if any(libpq_options) else ""), waits_s
