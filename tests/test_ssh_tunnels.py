"""Databases behind an SSH server: the same rows as without one, and one sentence for all that can be wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncssh
import pytest

from fault_proxy import Fault, FaultProxy
from fluxport.config import load
from fluxport.errors import Canceled, FluxportError, QueryFailed, Refused, TimedOut, Unavailable
from fluxport.sources import open_source
from fluxport.sources.accounts import inspect_account
from fluxport.sources.tables import list_tables
from fluxport.ssh import CONNECT_TIMEOUT_S
from fluxport.stages import Limits
from mysql_support import read_all, scratch_database, wait_until
from own_servers import free_port
from postgres_support import scratch_postgres
from private_mariadb import private_mariadb
from sftp_server import Server, Sftp, ssh_server


@dataclass
class Gateway:
    """An SSH server in front of the databases."""

    port: int
    known_hosts: Path
    folder: Path
    requested: list[tuple[str, int]] = field(default_factory=list)
    allows: bool = True

    def url(self, url: str, **options: str) -> str:
        """``url`` through this server; ``options`` replace those of the tunnel."""
        values = {
            "ssh": f"{Sftp.user}@127.0.0.1:{self.port}",
            "ssh-password": Sftp.password,
            "ssh-known-hosts": str(self.known_hosts),
        } | {name.replace("_", "-"): value for name, value in options.items()}
        pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items() if value)
        return f"{url}{'&' if '?' in url else '?'}{pairs}"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    class Forwarding(Server):
        def connection_requested(self, host: str, port: int, *origin: Any) -> bool:
            made.requested.append((host, port))
            if not made.allows:
                raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "no")
            return True

    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "key")
    (tmp_path / "authorized").write_text(key.export_public_key().decode())
    made = Gateway(0, tmp_path / "known_hosts", tmp_path)
    with ssh_server(made.known_hosts, Forwarding, authorized_client_keys=str(tmp_path / "authorized")) as made.port:
        yield made


@contextmanager
def mariadb() -> Iterator[str]:
    with scratch_database() as database:
        database.run("CREATE TABLE t AS SELECT seq AS n, REPEAT('x', 100) AS filler FROM seq_1_to_50000")
        yield database.url


@contextmanager
def postgres() -> Iterator[str]:
    with scratch_postgres() as database:
        database.run("CREATE TABLE t AS SELECT n, repeat('x', 100) AS filler FROM generate_series(1, 50000) n")
        yield database.url


KINDS = {"mariadb": mariadb, "postgresql": postgres}


def tunnel_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "fluxport-tunnel"]


def failure(url: str) -> FluxportError:
    with pytest.raises(FluxportError) as caught:
        read_all(url, "SELECT 1 AS a")
    wait_until(lambda: not tunnel_threads())
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_tables_come_through_the_tunnel_and_it_ends_with_them(gateway: Gateway, kind: str) -> None:
    with KINDS[kind]() as url:
        parts = urlsplit(url)
        direct, _ = read_all(url, "SELECT * FROM t ORDER BY n")
        through, _ = read_all(gateway.url(url), "SELECT * FROM t ORDER BY n")
        assert through.equals(direct)
        assert gateway.requested == [(parts.hostname, parts.port or (3306 if kind == "mariadb" else 5432))]
        assert [table.name for table in list_tables(gateway.url(url))] == ["t"]
        assert inspect_account(gateway.url(url)).checked
        wait_until(lambda: not tunnel_threads())


def test_a_key_file_logs_in_and_the_name_of_the_process_is_the_default(gateway: Gateway) -> None:
    with mariadb() as url:
        keyed = gateway.url(url, ssh_password="", ssh_key=str(gateway.folder / "key"))
        assert read_all(keyed, "SELECT 1 AS a")[0].num_rows == 1
        unnamed = gateway.url(url, ssh=f"127.0.0.1:{gateway.port}")
        error = failure(unnamed)  # another user than that of the password
        assert (type(error), error.code) == (Refused, "ssh_denied")


def test_closing_cancels_the_query_through_the_tunnel(gateway: Gateway) -> None:
    with scratch_database() as database:
        source = open_source(gateway.url(database.url), "SELECT SLEEP(1000) AS tunneled", limits=Limits())
        failed: list[BaseException] = []

        def read() -> None:
            try:
                for _ in source.batches():
                    pass
            except BaseException as error:  # noqa: BLE001  asserted below
                failed.append(error)

        reading = threading.Thread(target=read)
        reading.start()
        wait_until(lambda: bool(database.running("tunneled")))
        source.close()
        reading.join()
        wait_until(lambda: not database.running("tunneled"))
    assert [type(error) for error in failed] == [Canceled]
    wait_until(lambda: not tunnel_threads())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["fin", "rst", "stall"])
def test_a_tunnel_that_is_lost_while_rows_come_is_an_error(gateway: Gateway, kind: str, fault: Fault) -> None:
    with KINDS[kind]() as url, FaultProxy(f"ssh://127.0.0.1:{gateway.port}", fault, 500_000) as proxy:
        known = gateway.known_hosts.read_text()
        gateway.known_hosts.write_text(known + known.replace(f":{gateway.port}", f":{proxy.port}"))
        tunneled = gateway.url(f"{url}?read-timeout=1s", ssh=f"{Sftp.user}@127.0.0.1:{proxy.port}")
        with pytest.raises(Unavailable) as caught:
            read_all(tunneled, "SELECT a.n FROM t a, t b")
        assert proxy.faulted.is_set()
        wait_until(lambda: not tunnel_threads())
    assert caught.value.code in ({"source_timeout"} if fault == "stall" else {"source_lost", "ssh_unreachable"})


def test_what_is_wrong_with_the_ssh_server_is_one_sentence(gateway: Gateway) -> None:
    with mariadb() as url:
        for options, kind, code in (
            ({"ssh_password": "hunter2"}, Refused, "ssh_denied"),
            ({"ssh": f"exports@127.0.0.1:{free_port()}"}, Unavailable, "ssh_unreachable"),
            ({"ssh_key": str(gateway.folder / "gone")}, Refused, "bad_file"),
            ({"ssh_known_hosts": str(gateway.folder / "gone")}, Refused, "bad_file"),
            ({"ssh_known_hosts": str(gateway.folder / "authorized")}, Refused, "unknown_host"),
        ):
            error = failure(gateway.url(url, **options))
            assert (type(error), error.code) == (kind, code)
            assert "hunter2" not in error.message
        gateway.allows = False
        error = failure(gateway.url(url))
        assert (type(error), error.code) == (Refused, "ssh_denied")
        assert "forwarding" in error.message


@pytest.mark.parametrize("scheme", ["mysql://root", "postgresql://postgres"])
def test_a_database_that_the_ssh_server_does_not_reach_is_named(gateway: Gateway, scheme: str) -> None:
    port = free_port()
    error = failure(gateway.url(f"{scheme}@localhost:{port}/x"))
    assert (type(error), error.code) == (Unavailable, "source_unreachable")
    assert f"localhost:{port}" in error.message


def test_tls_verifies_the_name_of_the_database_and_not_of_the_port_here(gateway: Gateway) -> None:
    """The certificate is for 127.0.0.1, where the tunnel begins as well."""
    with private_mariadb() as server:
        verified = f"{server.url}?ssl-mode=verify-identity&ssl-ca={server.ca}"
        assert read_all(gateway.url(verified), "SELECT 1 AS a")[0].num_rows == 1
        error = failure(gateway.url(verified.replace("127.0.0.1", "localhost", 1)))
        assert (type(error), error.code) == (Unavailable, "tls_untrusted")


def test_an_error_of_the_database_stays_that(gateway: Gateway) -> None:
    with mariadb() as url:
        with pytest.raises(QueryFailed) as failed:
            read_all(gateway.url(url), "SELECT nothing FROM t")
        assert failed.value.code == "unknown_column"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u@h/d?ssh=",
        "mysql://u@h/d?ssh=a:b@gate",
        "mysql://u@h/d?ssh=gate:99999",
        "mysql://u@h/d?ssh-key=/k",
        "mysql://u@/d?socket=/s&ssh=gate",
        "postgresql://u@/d?host=/run&ssh=gate",
        "postgresql://u@a,b/d?ssh=gate",
        "sqlite:///a.db?ssh=gate",
        "mysql://u@h/d?ssh=gate&nonsense=1",
    ],
)
def test_a_tunnel_that_cannot_be_is_refused_before_anything_connects(url: str) -> None:
    with pytest.raises(Refused) as refused:
        open_source(url, "SELECT 1")
    assert refused.value.code == "bad_dsn"


def test_a_connection_of_the_configuration_has_a_section_for_it(gateway: Gateway, tmp_path: Path) -> None:
    with scratch_database() as database:
        text = f"""
            connections:
              main:
                url: {database.url}
                ssh: {{host: 127.0.0.1, port: {gateway.port}, user: {Sftp.user}, password: "{Sftp.password}",
                       known_hosts: {gateway.known_hosts}}}
        """
        (tmp_path / "fluxport.yaml").write_text(text)
        config = load(folder=tmp_path, environ={})
        assert Sftp.password not in str(config)
        assert read_all(config.connections["main"].address, "SELECT 1 AS a")[0].num_rows == 1
    assert len(gateway.requested) == 1


@pytest.mark.parametrize("end", ["deadline", "close"])
def test_a_login_that_stalls_is_left(end: str) -> None:
    """An SSH server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql://u@127.0.0.1/d?ssh=u@127.0.0.1:{silent.getsockname()[1]}&ssh-password=p"
        source = open_source(url, "SELECT 1", limits=Limits(deadline_s=0.5 if end == "deadline" else None))
        raised: list[FluxportError] = []

        def pull() -> None:
            try:
                _ = source.schema
            except FluxportError as error:
                raised.append(error)

        thread = threading.Thread(target=pull)
        thread.start()
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(3) == b"SSH"
            if end == "close":
                source.close()
            thread.join(CONNECT_TIMEOUT_S / 2)
            assert not thread.is_alive()
    assert [type(error) for error in raised] == [TimedOut if end == "deadline" else Canceled]
