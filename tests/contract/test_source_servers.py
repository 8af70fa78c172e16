"""What goes wrong between a source and its server, the same for all of them: a connection that ends, breaks, stalls or
is killed at any byte is an error with its code and never a shorter result; what is refused names no secret."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from fault_proxy import Fault, FaultProxy
from fluxport.errors import FluxportError, QueryFailed, Unavailable
from fluxport.sources import SourceOptions, open_source
from fluxport.stages import Limits
from fluxport.testing.sources import wait_until
from source_servers import SERVERS, Server

ROWS = 100_000
SHORT = SourceOptions(connect_timeout_s=0.5, read_timeout_s=0.5)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with SERVERS[request.param]() as made:
        yield made


@pytest.fixture(scope="module")
def whole_bytes(server: Server) -> int:
    """What the server sends for all rows."""
    with FaultProxy(server.url) as proxy:
        assert rows(server.at(proxy.url), server.query(ROWS)) == ROWS
        return proxy.passed_bytes


def rows(url: str, query: str, options: SourceOptions | None = None, limits: Limits | None = None) -> int:
    source = open_source(url, query, options=options, limits=limits)
    return sum(batch.num_rows for batch in source.batches())


def ended(url: str, query: str, options: SourceOptions | None = None, limits: Limits | None = None) -> FluxportError:
    with pytest.raises(FluxportError) as caught:
        rows(url, query, options, limits)
    assert caught.value.message.endswith(".")
    assert "hunter2" not in str(caught.value)
    return caught.value


FAULTS: dict[Fault, str] = {"fin": "source_lost", "rst": "source_lost", "stall": "source_timeout"}


@pytest.mark.parametrize("share", [0.3, 0.9999])
@pytest.mark.parametrize(("fault", "code"), FAULTS.items())
def test_a_connection_that_fails_is_never_the_end(
    server: Server, whole_bytes: int, fault: Fault, code: str, share: float
) -> None:
    with FaultProxy(server.url, fault, int(whole_bytes * share)) as proxy:
        error = ended(server.at(proxy.url), server.query(ROWS), SHORT)
        assert proxy.faulted.is_set()
    assert (type(error), error.code, error.retryable) == (Unavailable, code, True)
    assert wait_until(lambda: server.sessions() == [])


def test_every_one_of_the_last_bytes_matters(server: Server) -> None:
    """The answer to one row, cut before the end of each of its last bytes that belong to the statement."""
    with FaultProxy(server.url) as proxy:
        assert rows(server.at(proxy.url), server.query(1)) == 1
        last = proxy.passed_bytes
    for missing in range(1, 12):
        with FaultProxy(server.url, "fin", last - missing) as proxy:
            error = ended(server.at(proxy.url), server.query(1), SHORT)
        assert isinstance(error, Unavailable), missing
        assert error.code == "source_lost"


def test_a_session_killed_on_the_server_never_counts_as_complete(server: Server) -> None:
    source = open_source(server.at(server.url), server.query(30 * ROWS))
    batches = source.batches()
    next(batches)
    for number in server.sessions():
        server.kill(number)
    with pytest.raises(Unavailable) as caught:
        for _ in batches:
            pass
    assert caught.value.code == "source_lost"
    assert wait_until(lambda: server.sessions() == [])


def test_the_deadline_holds_while_the_server_trickles(server: Server, whole_bytes: int) -> None:
    with FaultProxy(server.url, "slow", whole_bytes // 2, slow_bytes_s=2000) as proxy:
        error = ended(server.at(proxy.url), server.query(ROWS), limits=Limits(deadline_s=1.0))
    assert error.code == "deadline"
    assert wait_until(lambda: server.sessions() == [])


def test_a_wrong_password_is_refused_and_not_tried_again(server: Server) -> None:
    error = ended(server.at(server.as_user("fluxport_nobody", "hunter2")), server.query(1))
    assert (type(error), error.code, error.retryable) == (QueryFailed, "login_refused", False)


def test_a_server_that_is_not_there_may_come_back(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = server.as_user("fluxport_nobody", "hunter2").rpartition(":")[0] + f":{port}/none"
    error = ended(server.at(url), server.query(1), SHORT)
    assert (type(error), error.code, error.retryable) == (Unavailable, "source_unreachable", True)


def test_a_server_that_is_no_database_is_told(server: Server) -> None:
    """It answers what a web server would, and ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(1)
                    with contextlib.suppress(TimeoutError):
                        connection.recv(1024)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = server.as_user("fluxport_nobody", "hunter2").rpartition(":")[0] + f":{listener.getsockname()[1]}/none"
        error = ended(server.at(url), server.query(1))
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert isinstance(error, Unavailable)


def test_as_many_columns_as_a_server_has(server: Server) -> None:
    many = 1600  # what a result of PostgreSQL may have is 1,664
    query = "SELECT " + ", ".join(f"{n} AS c{n}" for n in range(many))
    source = open_source(server.at(server.url), query)
    assert [batch.num_columns for batch in source.batches()] == [many]
