"""From a fresh socket to a logged-in connection: greeting, TLS, authentication.

::

    server: greeting      0a | version 00 | connection id 4 | nonce 8 | 00 | capabilities 2 | charset 1 | status 2 |
                          capabilities 2 | nonce length 1 | filler 6 | MariaDB capabilities 4 | nonce .. | plugin 00
    client: TLS request   capabilities 4 | max packet 4 | charset 1 | filler 19 | MariaDB capabilities 4
    client: response      the same | user 00 | proof | [database 00] | plugin 00 | attributes
    server:               00 OK | ff error | fe switch plugin, new nonce | 01 more data (caching_sha2_password)
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fluxport.errors import QueryFailed, Refused
from fluxport.sources.mysql import auth
from fluxport.sources.mysql.dsn import Dsn
from fluxport.sources.mysql.servererrors import ServerError
from fluxport.sources.mysql.wire import Wire, lenenc, server_error

if TYPE_CHECKING:
    import ssl

LONG_PASSWORD = 1 << 0  # MariaDB leaves it unset, which says that the greeting has its capabilities beyond 32 bits
LONG_FLAG = 1 << 2
CONNECT_WITH_DB = 1 << 3
PROTOCOL_41 = 1 << 9
SSL = 1 << 11
TRANSACTIONS = 1 << 13
SECURE_CONNECTION = 1 << 15
PLUGIN_AUTH = 1 << 19
CONNECT_ATTRS = 1 << 20
PLUGIN_AUTH_LENENC = 1 << 21
DEPRECATE_EOF = 1 << 24
MARIADB_EXTENDED_METADATA = 1 << 35

# LOCAL_FILES and MULTI_STATEMENTS are left out on purpose: no server may request a file, no text may hold two
# statements.
WANTED = (
    LONG_PASSWORD | LONG_FLAG | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH | CONNECT_ATTRS
    | PLUGIN_AUTH_LENENC | DEPRECATE_EOF | MARIADB_EXTENDED_METADATA
)  # fmt: skip
UTF8MB4_GENERAL_CI = 45
_ATTRIBUTES = {b"_client_name": b"fluxport", b"program_name": b"fluxport", b"_pid": b"%d" % os.getpid()}


@dataclass(frozen=True)
class Server:
    """The server's greeting; after the login, ``capabilities`` are those of both sides."""

    version: str
    connection_id: int
    capabilities: int
    nonce: bytes
    plugin: str

    @property
    def is_mariadb(self) -> bool:
        return "mariadb" in self.version.lower()


def log_in(wire: Wire, dsn: Dsn) -> Server:
    """Connect ``wire`` and log in; QueryFailed (``login_refused``, ...) or Unavailable if that fails."""
    wire.connect()
    offered = False
    try:
        server = parse_greeting(wire.packet())
        offered = bool(server.capabilities & SSL)
        capabilities = WANTED & server.capabilities
        if dsn.database:
            capabilities |= CONNECT_WITH_DB
        if wants_tls(dsn, offered=offered):
            context = tls_context(dsn)
            capabilities |= SSL
            wire.send(_response_head(capabilities), sequence=wire.sequence)
            wire.start_tls(context)
        proof = _proof(server.plugin, wire, dsn, server.nonce)
        if proof is None:  # an unsupported plugin: the server will switch to the account's own
            server = Server(server.version, server.connection_id, server.capabilities, server.nonce, NATIVE)
            proof = auth.native(dsn.password.encode(), server.nonce)
        wire.send(_response(capabilities, dsn, proof, server.plugin), sequence=wire.sequence)
        _authenticate(wire, dsn, server.plugin, server.nonce)
    except ServerError as error:
        raised = error.translated()
        if raised.code == "login_refused" and offered and not wire.encrypted:
            # The server sends the same error for a wrong password and for an account that requires TLS.
            raised = QueryFailed(
                f"{raised.message} If the account must use TLS, set ssl-mode=required.",
                code="login_refused",
                detail=raised.detail,
            )
        raise raised from None
    wire.logged_in()
    return Server(server.version, server.connection_id, capabilities, b"", server.plugin)


def parse_greeting(payload: bytes) -> Server:
    """The server's first packet, protocol version 10."""
    if payload[:1] != b"\x0a":
        raise QueryFailed(
            "The server does not speak a known version of the MySQL protocol; check host and port.", code="not_mysql"
        )
    try:
        end = payload.index(b"\0", 1)
        version = payload[1:end].decode("ascii", "replace")
        connection_id, first, low, _, _, high, nonce_size = struct.unpack_from("<I8sxHBHHB", payload, end + 1)
        at = end + 22  # after connection id, nonce, filler, capabilities, character set, status and nonce length
        capabilities = low | high << 16
        if not capabilities & LONG_PASSWORD:
            capabilities |= int.from_bytes(payload[at + 6 : at + 10], "little") << 32
        rest = payload[at + 10 : at + 10 + max(13, nonce_size - 8)]
        plugin = payload[at + 10 + len(rest) :].split(b"\0")[0].decode("ascii", "replace")
    except (ValueError, struct.error):
        raise QueryFailed("The database's greeting cannot be read.", code="not_mysql") from None
    if not capabilities & PROTOCOL_41 or not capabilities & SECURE_CONNECTION:
        raise QueryFailed("The database server is too old: it lacks the protocol of MySQL 4.1.", code="not_mysql")
    nonce = (first + rest)[: max(20, nonce_size - 1)]
    return Server(version, connection_id, capabilities, nonce, plugin or NATIVE)


def wants_tls(dsn: Dsn, *, offered: bool) -> bool:
    """Whether to use TLS; Refused if it is required and not offered."""
    if dsn.tls == "disabled" or (dsn.tls == "auto" and dsn.loopback):
        return False
    if dsn.tls in ("auto", "preferred") and (dsn.socket or not offered):
        return False
    if not offered:
        raise Refused(f"The database on {dsn.place} offers no TLS, and ssl-mode={dsn.tls} requires it.", code="no_tls")
    return True


def tls_context(dsn: Dsn) -> ssl.SSLContext:
    """The context for ``dsn.tls``; Refused if a certificate or key file cannot be used."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=dsn.tls_ca)
        if dsn.tls_cert:
            context.load_cert_chain(dsn.tls_cert, dsn.tls_key)
    except (OSError, ssl.SSLError):
        raise Refused(
            "A file named by ssl-ca, ssl-cert or ssl-key cannot be read, or is no PEM file of that kind.",
            code="bad_tls_file",
        ) from None
    context.check_hostname = dsn.tls == "verify-identity"
    if dsn.tls in ("auto", "preferred", "required"):
        context.verify_mode = ssl.CERT_NONE
    return context


def _response_head(capabilities: int) -> bytes:
    """Also the complete request for TLS."""
    return struct.pack("<IIB19xI", capabilities & 0xFFFFFFFF, 0x3FFFFFFF, UTF8MB4_GENERAL_CI, capabilities >> 32)


def _response(capabilities: int, dsn: Dsn, proof: bytes, plugin: str) -> bytes:
    out = [_response_head(capabilities), dsn.user.encode(), b"\0", lenenc(len(proof)), proof]
    if capabilities & CONNECT_WITH_DB:
        out += [dsn.database.encode(), b"\0"]
    if capabilities & PLUGIN_AUTH:
        out += [plugin.encode(), b"\0"]
    if capabilities & CONNECT_ATTRS:
        attributes = b"".join(bytes([len(part)]) + part for pair in _ATTRIBUTES.items() for part in pair)
        out += [lenenc(len(attributes)), attributes]
    return b"".join(out)


NATIVE = "mysql_native_password"
CACHING_SHA2 = "caching_sha2_password"
CLEAR = "mysql_clear_password"
ED25519 = "client_ed25519"


def _proof(plugin: str, wire: Wire, dsn: Dsn, nonce: bytes) -> bytes | None:
    """The first response to ``plugin``; None if the plugin is not supported."""
    password = dsn.password.encode()
    if plugin == NATIVE:
        return auth.native(password, nonce[:20])
    if plugin == CACHING_SHA2:
        return auth.caching_sha2(password, nonce[:20])
    if plugin == ED25519:
        return auth.ed25519(password, nonce[:32])
    if plugin == CLEAR:
        if not wire.local or dsn.tls in ("auto", "preferred"):
            raise QueryFailed(
                "The account's authentication plugin sends the password in clear text, which is allowed "
                "only over TLS with an explicit ssl-mode; set ssl-mode=verify-identity (or required).",
                code="login_refused",
            )
        return password + b"\0"
    return None


def _authenticate(wire: Wire, dsn: Dsn, plugin: str, nonce: bytes) -> None:
    """Exchange packets until the server sends OK; ServerError if it refuses. At most 8, lest it request without end."""
    for _ in range(8):
        payload = wire.packet()
        kind = payload[:1]
        if kind == b"\x00":
            return
        if kind == b"\xfe":
            plugin, nonce = _switched(payload)
            proof = _proof(plugin, wire, dsn, nonce)
            if proof is None:
                raise QueryFailed(
                    f"The account uses the authentication plugin {plugin!r}, which is not supported; use "
                    f"{CACHING_SHA2}, {NATIVE} or {ED25519}.",
                    code="login_refused",
                )
            wire.send(proof, sequence=wire.sequence)
        elif kind == b"\x01" and plugin == CACHING_SHA2:
            _caching_sha2_step(wire, dsn, payload[1:], nonce[:20])
        else:
            break
    raise wire.broken("violates the login protocol")


def _switched(payload: bytes) -> tuple[str, bytes]:
    """The requested plugin and its nonce; a bare 0xFE requests the password hash of MySQL 4.0."""
    if len(payload) == 1:
        return "mysql_old_password", b""
    name, _, nonce = payload[1:].partition(b"\0")
    return name.decode("ascii", "replace"), nonce.removesuffix(b"\0")


def _caching_sha2_step(wire: Wire, dsn: Dsn, status: bytes, nonce: bytes) -> None:
    password = dsn.password.encode()
    if status == b"\x03":  # the server had the hash in its cache; OK follows
        return
    if status != b"\x04":
        raise wire.broken("violates the login protocol")
    if wire.local:
        wire.send(password + b"\0", sequence=wire.sequence)
        return
    wire.send(b"\x02", sequence=wire.sequence)
    response = wire.packet()
    if response[:1] != b"\x01":
        raise server_error(response) if response[:1] == b"\xff" else wire.broken("sent no public key")
    wire.send(auth.rsa_encrypted(password, nonce, response[1:]), sequence=wire.sequence)
