"""A Flight SQL server over DuckDB, which runs statements without parameters."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.flight as flight

CHECK_S = 0.05
BATCH_ROWS = 8192
TOKEN = "session of the test"


def field(message: bytes, wanted: int) -> bytes:
    """The field with this number of a protobuf message whose fields are all texts or messages."""
    at = 0
    while at < len(message):
        number, at = message[at] >> 3, at + 1
        size = shift = 0
        while True:
            byte, at = message[at], at + 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if number == wanted:
            return message[at : at + size]
        at += size
    return b""


class FlightSqlServer(flight.FlightServerBase):  # type: ignore[misc]  # Arrow has no types
    """``running`` counts the statements that are run or read; clients need ``password``, if set."""

    def __init__(self, password: str = "") -> None:
        middleware = {"login": _Logins(password)} if password else {}
        super().__init__("grpc://127.0.0.1:0", auth_handler=_Anyone(), middleware=middleware)
        self.running = 0
        self._counting = threading.Lock()

    @property
    def url(self) -> str:
        return f"adbc+flightsql://127.0.0.1:{self.port}?tls=off"

    def get_flight_info(self, context: Any, descriptor: Any) -> flight.FlightInfo:
        query = field(field(descriptor.command, 2), 1).decode()  # CommandStatementQuery in an Any
        with self._counted(context) as connection:
            schema = _run(connection, f"SELECT * FROM (\n{query}\n) LIMIT 0").schema
        endpoint = flight.FlightEndpoint(query.encode(), [])
        return flight.FlightInfo(schema, descriptor, [endpoint], -1, -1)

    def do_get(self, context: Any, ticket: Any) -> flight.GeneratorStream:
        query = ticket.ticket.decode()
        rows = self._rows(context, query)
        return flight.GeneratorStream(next(rows), rows)

    def _rows(self, context: Any, query: str) -> Iterator[Any]:
        """The schema, then the batches; ended, wherever it is, when the client cancels."""
        with self._counted(context) as connection:
            reader = _run(connection, query)
            yield reader.schema
            yield from reader

    @contextlib.contextmanager
    def _counted(self, context: Any) -> Iterator[duckdb.DuckDBPyConnection]:
        connection, ended = duckdb.connect(), threading.Event()
        with self._counting:
            self.running += 1

        def watch() -> None:
            while not ended.wait(CHECK_S):
                if context.is_cancelled():
                    connection.interrupt()

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield connection
        finally:
            ended.set()
            watching.join()
            connection.close()
            with self._counting:
                self.running -= 1


def _run(connection: duckdb.DuckDBPyConnection, query: str) -> pa.RecordBatchReader:
    try:
        return connection.sql(query).to_arrow_reader(BATCH_ROWS)
    except duckdb.Error as error:
        raise pa.ArrowInvalid(str(error)) from None


class _Anyone(flight.ServerAuthHandler):  # type: ignore[misc]  # Arrow has no types
    """Handshakes are for the middleware."""

    def authenticate(self, outgoing: Any, incoming: Any) -> None:
        pass

    def is_valid(self, token: bytes) -> bytes:
        return b""


class _Logins(flight.ServerMiddlewareFactory):  # type: ignore[misc]  # Arrow has no types
    def __init__(self, password: str) -> None:
        self._basic = "Basic " + base64.b64encode(f"reader:{password}".encode()).decode()

    def start_call(self, info: Any, headers: dict[str, list[str]]) -> Any:
        given = headers.get("authorization", [""])[0]
        if given not in (self._basic, f"Bearer {TOKEN}"):
            raise flight.FlightUnauthenticatedError("wrong password")
        return _LoggedIn()


class _LoggedIn(flight.ServerMiddleware):  # type: ignore[misc]  # Arrow has no types
    def sending_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {TOKEN}"}


@contextlib.contextmanager
def flight_sql_server(password: str = "") -> Iterator[FlightSqlServer]:
    server = FlightSqlServer(password)
    try:
        yield server
    finally:
        server.shutdown()
