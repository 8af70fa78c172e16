"""Against a private server: TLS in every mode, accounts of every kind, cells of many megabytes, global settings."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.errors import FluxportError, LimitExceeded, QueryFailed, Refused, Unavailable
from fluxport.sources.mysql import auth
from fluxport.sources.mysql.dsn import parse_dsn
from fluxport.sources.mysql.handshake import wants_tls
from fluxport.stages import Limits
from mysql_support import Database, read_all, scratch_database
from private_mariadb import PrivateServer, private_mariadb
from scripted_mysql import NONCE, OK, Peer, Result, ScriptedServer, definition, error


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateServer]:
    with private_mariadb() as started:
        yield started


@pytest.fixture(scope="module")
def database(server: PrivateServer) -> Iterator[Database]:
    with scratch_database(server.url) as made:
        made.run("CREATE TABLE t (v VARCHAR(10))")
        made.run("INSERT INTO t VALUES ('hello')")
        yield made


def cipher(url: str) -> str:
    table, _ = read_all(url, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    return str(table["Value"][0].as_py())


TLS_MODES: dict[str, tuple[str, bool]] = {
    "by default to this machine": ("", False),
    "preferred": ("ssl-mode=preferred", True),
    "disabled": ("ssl-mode=disabled", False),
    "required": ("ssl-mode=required", True),
    "verify-ca": ("ssl-mode=verify-ca&ssl-ca={home}/ca.pem", True),
    "ssl-ca alone": ("ssl-ca={home}/ca.pem", True),
    "verify-identity": ("ssl-mode=verify-identity&ssl-ca={home}/ca.pem", True),
    "client certificate": ("ssl-mode=required&ssl-cert={home}/client.pem&ssl-key={home}/client.key", True),
    "Go's skip-verify": ("tls=skip-verify", True),
}


@pytest.mark.parametrize(("options", "encrypted"), TLS_MODES.values(), ids=TLS_MODES)
def test_tls(server: PrivateServer, database: Database, options: str, encrypted: bool) -> None:
    found = cipher(f"{database.url}?{options.format(home=server.certificates)}")
    assert bool(found) == encrypted


TLS_REFUSED: dict[str, tuple[str, type[FluxportError], str]] = {
    "another authority": ("ssl-mode=verify-ca&ssl-ca={home}/other.pem", Unavailable, "tls_untrusted"),
    "system authorities": ("tls=true", Unavailable, "tls_untrusted"),
    "no such file": ("ssl-ca=/no/such/file", Refused, "bad_tls_file"),
    "key without certificate": ("ssl-mode=required&ssl-cert={home}/server.key", Refused, "bad_tls_file"),
}


@pytest.mark.parametrize(("options", "kind", "code"), TLS_REFUSED.values(), ids=TLS_REFUSED)
def test_tls_refused(
    server: PrivateServer, database: Database, options: str, kind: type[FluxportError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        cipher(f"{database.url}?{options.format(home=server.certificates)}")
    assert caught.value.code == code


def test_the_host_name_is_part_of_verify_identity_only(server: PrivateServer, database: Database) -> None:
    url = database.url.replace("127.0.0.1", "localhost")
    assert cipher(f"{url}?ssl-mode=verify-ca&ssl-ca={server.ca}")
    with pytest.raises(Unavailable) as caught:
        cipher(f"{url}?ssl-mode=verify-identity&ssl-ca={server.ca}")
    assert caught.value.code == "tls_untrusted"


@pytest.mark.parametrize(("host", "expected"), [("db.example", True), ("localhost", False), ("127.0.0.2", False)])
def test_tls_by_default_is_for_the_network(host: str, expected: bool) -> None:
    assert wants_tls(parse_dsn(f"mysql://u@{host}/d"), offered=True) is expected


def test_the_error_of_an_account_that_requires_tls_names_the_setting(database: Database) -> None:
    database.run("CREATE OR REPLACE USER strict@'%' IDENTIFIED BY 'x' REQUIRE SSL")
    with pytest.raises(QueryFailed, match="set ssl-mode=required"):
        read_all(database.url.replace("root@", "strict:x@"), "SELECT 1")


def test_tls_is_demanded_from_a_server_that_has_none() -> None:
    with ScriptedServer() as scripted, pytest.raises(Refused) as caught:
        read_all(scripted.url + "?ssl-mode=required", "SELECT 1")
    assert caught.value.code == "no_tls"


def test_many_rows_over_tls(database: Database) -> None:
    table, _ = read_all(
        database.url + "?ssl-mode=required", "SELECT seq, REPEAT('x', seq MOD 300) AS v FROM seq_1_to_100000"
    )
    assert table["seq"].to_pylist() == list(range(1, 100_001))


ACCOUNTS: dict[str, tuple[str, str]] = {
    "native": ("IDENTIFIED VIA mysql_native_password USING PASSWORD('pä ss')", "p%C3%A4%20ss"),
    "native without password": ("IDENTIFIED VIA mysql_native_password USING ''", ""),
    "ed25519": ("IDENTIFIED VIA ed25519 USING PASSWORD('pä ss')", "p%C3%A4%20ss"),
    "only over TLS": ("IDENTIFIED BY 'x' REQUIRE SSL", "x"),
    "only by certificate": ("IDENTIFIED BY 'x' REQUIRE X509", "x"),
}


@pytest.mark.parametrize(("identified", "password"), ACCOUNTS.values(), ids=ACCOUNTS)
def test_account(server: PrivateServer, database: Database, identified: str, password: str) -> None:
    database.run(f"CREATE OR REPLACE USER reader@'%' {identified}")
    database.run("GRANT SELECT ON *.* TO reader@'%'")
    host = urlsplit(database.url).netloc.partition("@")[2]
    home = server.certificates
    options = f"?ssl-mode=required&ssl-cert={home}/client.pem&ssl-key={home}/client.key"
    if "REQUIRE" not in identified:
        options = ""
    table, _ = read_all(f"mysql://reader:{password}@{host}/{database.name}{options}", "SELECT v FROM t")
    assert table["v"].to_pylist() == ["hello"]
    with pytest.raises(QueryFailed) as caught:
        read_all(f"mysql://reader:wrong@{host}/{database.name}{options}", "SELECT v FROM t")
    assert caught.value.code == "login_refused"


def test_unix_socket(server: PrivateServer, database: Database) -> None:
    for url in (
        f"mysql://root@/{database.name}?socket={server.socket}",
        f"root@unix({server.socket})/{database.name}?parseTime=true",
    ):
        table, _ = read_all(url, "SELECT v FROM t")
        assert table["v"].to_pylist() == ["hello"]
        assert cipher(url) == ""


@pytest.mark.parametrize("text_protocol", [False, True], ids=["binary", "text"])
def test_cells_of_many_packets(database: Database, text_protocol: bool) -> None:
    """40 MB in a row of three packets, with small rows before and behind, and its bytes are right."""
    query = (
        "SELECT 1 AS n, 'a' AS s, x'00' AS b UNION ALL "
        "SELECT 2, REPEAT('0123456789', 2000000), REPEAT(x'ff00', 10000000) UNION ALL SELECT 3, 'c', NULL"
    )
    table, _ = read_all(database.url, query, text_protocol=text_protocol)
    texts, binaries = table["s"].to_pylist(), table["b"].to_pylist()
    assert table["n"].to_pylist() == [1, 2, 3]
    assert (texts[0], texts[2]) == ("a", "c")
    assert (binaries[0], binaries[2]) == (b"\0", None)
    assert hashlib.sha256(texts[1].encode()).digest() == hashlib.sha256(b"0123456789" * 2_000_000).digest()
    assert hashlib.sha256(binaries[1]).digest() == hashlib.sha256(b"\xff\0" * 10_000_000).digest()


def test_a_cell_of_100_mb_is_refused_by_name(database: Database) -> None:
    with pytest.raises(LimitExceeded) as caught:
        read_all(database.url, "SELECT 1 AS n, REPEAT('x', 104857600) AS body")
    assert caught.value.code == "cell_too_large"
    assert "'body', row 1 " in caught.value.message


def test_a_cell_of_100_mb_passes_where_it_may(database: Database) -> None:
    table, _ = read_all(database.url, "SELECT REPEAT('x', 104857600) AS body", limits=Limits(cell_bytes_max=200 << 20))
    assert table.nbytes > 104857600


def test_a_row_of_many_large_cells_is_bounded_too(database: Database) -> None:
    cells = ", ".join(f"REPEAT('x', 900000) AS c{n}" for n in range(6))
    with pytest.raises(LimitExceeded) as caught:
        read_all(database.url, f"SELECT {cells}", limits=Limits(cell_bytes_max=1_000_000))
    assert caught.value.code == "row_too_large"


def test_the_servers_sql_mode_stays_but_for_what_changes_the_meaning_of_text(database: Database) -> None:
    database.run("SET @before = @@global.sql_mode")
    try:
        database.run("SET GLOBAL sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,ONLY_FULL_GROUP_BY'")
        table, _ = read_all(database.url, r"""SELECT @@sql_mode AS m, "a\tb" AS q""")
    finally:
        database.run("SET GLOBAL sql_mode = @before")
    assert table.to_pylist() == [{"m": "REAL_AS_FLOAT,ONLY_FULL_GROUP_BY", "q": "a\tb"}]


def test_a_dialect_of_the_server_is_not_that_of_the_session(database: Database) -> None:
    database.run("SET @before = @@global.sql_mode")
    try:
        database.run("SET GLOBAL sql_mode = 'ORACLE'")
        table, _ = read_all(database.url, "SELECT '' IS NULL AS a, 1 || 0 AS b")
    finally:
        database.run("SET GLOBAL sql_mode = @before")
    assert table.to_pylist() == [{"a": 0, "b": 1}]


def test_too_many_connections_may_be_tried_again(database: Database) -> None:
    database.run("SET GLOBAL max_connections = 10")
    port = urlsplit(database.url).port
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(16)]
    try:
        for sock in held:
            sock.recv(1)
        with pytest.raises(Unavailable) as caught:
            read_all(database.url, "SELECT 1")
        assert caught.value.code == "source_busy"
    finally:
        for sock in held:
            sock.close()
        database.run("SET GLOBAL max_connections = 151")


def test_native_proof_is_what_the_server_checks() -> None:
    """The server stores SHA1(SHA1(password)); it recovers SHA1(password) from the proof."""
    once = hashlib.sha1(b"secret").digest()
    mask = hashlib.sha1(NONCE + hashlib.sha1(once).digest()).digest()
    assert bytes(a ^ b for a, b in zip(auth.native(b"secret", NONCE), mask, strict=True)) == once
    assert auth.native(b"", NONCE) == auth.caching_sha2(b"", NONCE) == auth.ed25519(b"", NONCE) == b""


def test_caching_sha2_proof_is_what_the_server_checks() -> None:
    once = hashlib.sha256(b"secret").digest()
    mask = hashlib.sha256(hashlib.sha256(once).digest() + NONCE).digest()
    assert bytes(a ^ b for a, b in zip(auth.caching_sha2(b"secret", NONCE), mask, strict=True)) == once


@settings(max_examples=10, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(min_size=32, max_size=32))
def test_ed25519_is_that_of_rfc_8032(seed: bytes, message: bytes) -> None:
    """A password of 32 bytes is a seed of the standard, whose own implementation signs the same."""
    assert auth.ed25519(seed, message) == ed25519.Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def caching_sha2(
    steps: Callable[[Peer], bool],
) -> Callable[[Peer], None]:
    """A server's side of the login that requests the proof, then continues with ``steps``."""

    def login(peer: Peer) -> None:
        assert auth.caching_sha2(b"secret", NONCE) in peer.receive()
        peer.send(OK if steps(peer) else error(1045, "28000"))

    return login


def by_rsa(key: rsa.RSAPrivateKey) -> Callable[[Peer], bool]:
    def steps(peer: Peer) -> bool:
        peer.send(b"\x01\x04")
        assert peer.receive() == b"\x02"
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        peer.send(b"\x01" + pem)
        sha1 = hashes.SHA1()
        masked = key.decrypt(peer.receive(), padding.OAEP(padding.MGF1(sha1), sha1, None))
        return bytes(a ^ b for a, b in zip(masked, NONCE, strict=False)) == b"secret\0"

    return steps


def fast(peer: Peer) -> bool:
    peer.send(b"\x01\x03")
    return True


@pytest.mark.parametrize(
    "steps", [fast, by_rsa(rsa.generate_private_key(65537, 2048))], ids=["fast path", "public key over plain TCP"]
)
def test_caching_sha2_password(steps: Callable[[Peer], bool]) -> None:
    scripted = ScriptedServer(
        Result([definition("v", 253)], []), plugin="caching_sha2_password", login=caching_sha2(steps)
    )
    with scripted:
        table, _ = read_all(scripted.url, "SELECT v")
    assert table.num_rows == 0
    assert table.schema.names == ["v"]


@pytest.mark.parametrize("sent", [b"\x01not a key", b"\x01\x04", b"\x07"])
def test_an_invalid_public_key_is_refused(sent: bytes) -> None:
    def steps(peer: Peer) -> bool:
        peer.send(b"\x01\x04")
        peer.receive()
        peer.send(sent)
        return bool(peer.receive())

    with (
        ScriptedServer(plugin="caching_sha2_password", login=caching_sha2(steps)) as scripted,
        pytest.raises(FluxportError) as caught,
    ):
        read_all(scripted.url, "SELECT v")
    assert caught.value.code in ("login_refused", "source_broken")
