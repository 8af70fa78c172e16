"""A MySQL connection that fails, at half of 300,000 rows and at other times: the result never seems complete."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from fault_proxy import Fault, FaultProxy
from fluxport.errors import Canceled, FluxportError, QueryFailed, Refused, Unavailable
from fluxport.sources import open_source
from fluxport.stages import Limits, Source
from mysql_support import Database, read_all, scratch_database, wait_until

ROWS = 300_000
QUERY = f"SELECT seq, CONCAT('some text to fill the row ', seq) AS v FROM seq_1_to_{ROWS}"


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with scratch_database() as made:
        yield made


PROTOCOLS = ("prepared=true", "prepared=false")


@pytest.fixture(scope="module")
def result_bytes(database: Database) -> dict[str, int]:
    """The bytes of the whole exchange from the server, by protocol."""
    found = {}
    for protocol in PROTOCOLS:
        with FaultProxy(database.url) as proxy:
            table, _ = read_all(f"{proxy.url}?{protocol}", QUERY)
            assert table.num_rows == ROWS
            found[protocol] = proxy.passed_bytes
    return found


def drain(source: Source) -> int:
    return sum(batch.num_rows for batch in source.batches())


FAULTS: dict[Fault, str] = {"fin": "source_lost", "rst": "source_lost", "stall": "source_timeout"}


@pytest.mark.parametrize(("fault", "code"), FAULTS.items())
@pytest.mark.parametrize("share", [0.001, 0.5, 0.99999])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_connection_that_fails_is_never_the_end(
    database: Database, result_bytes: dict[str, int], fault: Fault, code: str, share: float, protocol: str
) -> None:
    with FaultProxy(database.url, fault, int(result_bytes[protocol] * share)) as proxy:
        source = open_source(f"{proxy.url}?{protocol}&read-timeout=400ms", QUERY)
        with pytest.raises(Unavailable) as caught:
            drain(source)
        assert proxy.faulted.is_set()
    assert caught.value.code == code
    assert caught.value.retryable
    assert wait_until(lambda: database.running("seq_1_to_") == [])


@pytest.mark.parametrize("missing", range(1, 12))
def test_every_byte_up_to_the_last_one_matters(database: Database, missing: int) -> None:
    query = "SELECT 1 AS a"
    with FaultProxy(database.url) as proxy:
        read_all(proxy.url, query)
        whole = proxy.passed_bytes
    with FaultProxy(database.url, "fin", whole - missing) as proxy, pytest.raises(Unavailable) as caught:
        read_all(proxy.url, query)
    assert caught.value.code == "source_lost"


@pytest.mark.parametrize("kill", ["KILL QUERY", "KILL CONNECTION"])
def test_a_killed_query_never_counts_as_complete(database: Database, kill: str) -> None:
    source = open_source(database.url, QUERY)
    batches = source.batches()
    rows = next(batches).num_rows
    (number,) = database.running("seq_1_to_")
    database.run(f"{kill} {number}")
    with pytest.raises(Unavailable) as caught:
        for batch in batches:
            rows += batch.num_rows
    assert caught.value.code == "source_lost"
    assert rows < ROWS


def test_a_slow_server_is_waited_for(database: Database, result_bytes: dict[str, int]) -> None:
    with FaultProxy(database.url, "slow", result_bytes[PROTOCOLS[0]] - 2000, slow_bytes_s=4000) as proxy:
        assert drain(open_source(proxy.url + "?read-timeout=5s", QUERY)) == ROWS


def test_the_deadline_holds_while_the_server_trickles(database: Database, result_bytes: dict[str, int]) -> None:
    """Every read returns something, so only a limit on the whole query can end it."""
    with FaultProxy(database.url, "slow", result_bytes[PROTOCOLS[0]] // 2, slow_bytes_s=2000) as proxy:
        with pytest.raises(Unavailable) as caught:
            drain(open_source(proxy.url, QUERY, limits=Limits(deadline_s=1.5)))
    assert caught.value.code == "deadline"
    assert wait_until(lambda: database.running("seq_1_to_") == [])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_deadline_holds_where_no_row_comes(database: Database, protocol: str) -> None:
    query = "SELECT COUNT(*) FROM seq_1_to_100000 a, seq_1_to_100000 b WHERE a.seq + b.seq = 7"
    with pytest.raises(Unavailable) as caught:
        drain(open_source(f"{database.url}?{protocol}", query, limits=Limits(deadline_s=0.5)))
    assert caught.value.code == "deadline"
    assert wait_until(lambda: database.running("seq_1_to_") == [], 2)


def test_a_query_that_is_not_waited_for_any_longer_ends_on_the_server(database: Database) -> None:
    query = "SELECT COUNT(*) FROM seq_1_to_100000 a, seq_1_to_100000 b WHERE a.seq + b.seq = 8"
    with pytest.raises(Unavailable) as caught:
        drain(open_source(database.url + "?read-timeout=300ms", query))
    assert caught.value.code == "source_timeout"
    assert wait_until(lambda: database.running("seq_1_to_") == [], 2)


def test_a_server_that_accepts_and_sends_nothing_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unavailable) as caught:
        read_all(f"mysql://u@127.0.0.1:{silent.getsockname()[1]}/d?connect-timeout=200ms", "SELECT 1")
    assert caught.value.code == "source_timeout"


UNREACHABLE = {
    "unknown host": "mysql://u:hunter2@no-such-host.invalid/d",
    "nothing listens": "mysql://u:hunter2@127.0.0.1:1/d",
    "no such socket": "mysql://u:hunter2@/d?socket=/no/such/socket",
    "a name that is none": f"mysql://u:hunter2@{'x' * 70}.example/d",
}


@pytest.mark.parametrize("url", UNREACHABLE.values(), ids=UNREACHABLE)
def test_what_cannot_be_reached_is_named_without_the_password(url: str) -> None:
    with pytest.raises(Unavailable) as caught:
        read_all(url, "SELECT 1")
    assert caught.value.code == "source_unreachable"
    assert "hunter2" not in str(caught.value)


REJECTED: dict[str, tuple[str, str]] = {
    "unknown table": ("SELECT * FROM no_such_table", "unknown_table"),
    "unknown column": ("SELECT no_such_column", "unknown_column"),
    "unknown function": ("SELECT no_such_function(1)", "unknown_function"),
    "syntax": ("SELECT 'a secret literal' FROM", "syntax_error"),
    "two statements": ("SELECT 1; SELECT 2", "syntax_error"),
    "nothing": ("", "no_result_set"),
    "a write": ("INSERT INTO t VALUES (1)", "read_only"),
    "a write with rows": ("INSERT INTO t VALUES (1) RETURNING v", "read_only"),
    "no result": ("DO 1", "no_result_set"),
    "into a file": ("SELECT 1 INTO OUTFILE '/tmp/x'", "no_result_set"),
}


@pytest.mark.parametrize(("query", "code"), REJECTED.values(), ids=REJECTED)
def test_the_error_of_a_rejected_query_does_not_quote_it(database: Database, query: str, code: str) -> None:
    """The server's message is in ``detail``; nothing was written and nothing remains."""
    database.run("CREATE TABLE IF NOT EXISTS t (v INT)")
    source = open_source(database.url, query)
    with pytest.raises(Refused) as caught:
        drain(source)
    assert caught.value.code == code
    assert "secret" not in caught.value.message
    assert "no_such" not in caught.value.message
    if "no_such" in query:
        assert "no_such" in (caught.value.detail or "")
    assert database.run("SELECT COUNT(*) FROM t") == [(0,)]
    assert wait_until(lambda: database.connections() == [])


LOGINS: dict[str, tuple[Callable[[str], str], str]] = {
    "wrong password": (lambda url: url.replace("root@", "root:hunter2@"), "login_refused"),
    "unknown user": (lambda url: url.replace("root@", "nobody:hunter2@"), "login_refused"),
    "unknown database": (lambda url: url + "_not", "unknown_database"),
}


@pytest.mark.parametrize(("change", "code"), LOGINS.values(), ids=LOGINS)
def test_a_refused_login(database: Database, change: Callable[[str], str], code: str) -> None:
    with pytest.raises(QueryFailed) as caught:
        read_all(change(database.url), "SELECT 1")
    assert caught.value.code == code
    assert caught.value.exit_code == 1
    assert "hunter2" not in str(caught.value)


def test_a_lock_that_is_not_given_may_be_tried_again(database: Database) -> None:
    database.run("CREATE TABLE IF NOT EXISTS locked (v INT)")
    database.run("LOCK TABLES locked WRITE")
    try:
        with pytest.raises(Unavailable) as caught:
            read_all(database.url, "SELECT * FROM locked", limits=Limits(deadline_s=0.5))
        assert caught.value.code == "deadline"
    finally:
        database.run("UNLOCK TABLES")


def test_cancelling_while_the_login_hangs(database: Database) -> None:
    with FaultProxy(database.url, "stall", 3) as proxy:
        source = open_source(proxy.url, "SELECT 1")
        raised: list[FluxportError] = []

        def start() -> None:
            try:
                _ = source.schema
            except FluxportError as error:
                raised.append(error)

        thread = threading.Thread(target=start)
        thread.start()
        assert proxy.faulted.wait(60)
        source.close()
        thread.join(5)
        assert not thread.is_alive()
    assert [type(error) for error in raised] == [Canceled]


@pytest.mark.parametrize("count", [5000, 1])
def test_very_many_columns(database: Database, count: int) -> None:
    columns = ", ".join(f"seq + {n} AS c{n}" for n in range(count))
    table, _ = read_all(database.url, f"SELECT {columns} FROM seq_1_to_30")
    assert table.num_columns == count
    assert table[f"c{count - 1}"].to_pylist() == [n + count - 1 for n in range(1, 31)]


def test_names_pass_as_they_are(database: Database) -> None:
    names = ["a", "a", " ", "ä", "x" * 64, "`"]
    shown = ", ".join("1 AS `" + name.replace("`", "``") + "`" for name in names)
    table, _ = read_all(database.url, f"SELECT {shown}, ''")
    assert table.schema.names == [*names[:2], *table.schema.names[2:3], *names[3:], ""]


def test_the_address_of_the_proxy_is_not_that_of_the_server(database: Database) -> None:
    with FaultProxy(database.url) as proxy:
        assert urlsplit(proxy.url).port != urlsplit(database.url).port
        assert urlsplit(proxy.url).path == f"/{database.name}"
