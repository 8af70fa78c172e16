"""The handshake: greeting, TLS on request, and the proof of the password by one of two methods.

server  greeting: version, connection id, nonce, capabilities, login method
client  [SSL request, then TLS]  response: capabilities, user, proof of the password, database
server  [switch to the other method -> client: proof]  [full login -> client: password]  OK or error
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fluxport_emulator import faults, wire
from fluxport_emulator.auth import Account, PasswordKey, nonce
from fluxport_emulator.channel import Channel
from fluxport_emulator.faults import FatalError, SqlError
from fluxport_emulator.variables import VERSION
from fluxport_emulator.wire import Capability, Payload

OFFERED = (
    Capability.LONG_PASSWORD
    | Capability.FOUND_ROWS
    | Capability.LONG_FLAG
    | Capability.CONNECT_WITH_DB
    | Capability.PROTOCOL_41
    | Capability.INTERACTIVE
    | Capability.TRANSACTIONS
    | Capability.SECURE_CONNECTION
    | Capability.MULTI_RESULTS
    | Capability.PS_MULTI_RESULTS
    | Capability.PLUGIN_AUTH
    | Capability.CONNECT_ATTRS
    | Capability.PLUGIN_AUTH_LENENC
    | Capability.DEPRECATE_EOF
)


@dataclass
class LoginState:
    """The state that all logins share: the account, the keys, and whether a full login has succeeded before."""

    account: Account
    context: ssl.SSLContext | None
    key: PasswordKey = field(default_factory=PasswordKey)
    proved: bool = False


@dataclass(frozen=True)
class Login:
    """A client's login request, and its first proof for the nonce."""

    capabilities: Capability
    user: str
    proof: bytes
    database: str
    plugin: str


async def greet(channel: Channel, state: LoginState, number: int, salt: bytes, on_gone: Callable[[], None]) -> Login:
    """Exchange the first packets; the channel is then open, encrypted if the client requested it. Raises FatalError."""
    offered = OFFERED | Capability.SSL if state.context is not None else OFFERED
    await channel.send(wire.greeting(VERSION, number, salt, offered, state.account.plugin))
    reply = await channel.read()
    wants_tls = len(reply) == 32 and Capability(int.from_bytes(reply[:4], "little")) & Capability.SSL
    if wants_tls and state.context is None:
        raise faults.bad_handshake()
    await channel.open(on_gone, state.context if wants_tls else None)
    if wants_tls:
        reply = await channel.read()
    return _handshake_response(Payload(reply), offered)


def _handshake_response(packet: Payload, offered: Capability) -> Login:
    capabilities = Capability(packet.integer(4)) & offered
    if not (capabilities & Capability.PROTOCOL_41 and capabilities & Capability.SECURE_CONNECTION):
        raise faults.bad_handshake()
    packet.take(4 + 1 + 23)  # the client's packet limit, its character set, filler
    user = decoded(packet.until_nul())
    proof = packet.lenenc_bytes() if capabilities & Capability.PLUGIN_AUTH_LENENC else packet.take(packet.integer(1))
    database = decoded(packet.until_nul()) if capabilities & Capability.CONNECT_WITH_DB and packet.left else ""
    plugin = "mysql_native_password"
    if capabilities & Capability.PLUGIN_AUTH and packet.left:
        plugin = decoded(packet.until_nul())
    if capabilities & Capability.CONNECT_ATTRS and packet.left:
        packet.lenenc_bytes()
    return Login(capabilities, user, proof, database, plugin)


async def authenticate(
    channel: Channel, state: LoginState, login: Login, host: str, salt: bytes, in_pool: Callable[..., Awaitable[Any]]
) -> None:
    """Raises FatalError 1045; an unknown user takes the same steps and gets the same error."""
    account, proof = state.account, login.proof
    if login.plugin != account.plugin:
        if not login.capabilities & Capability.PLUGIN_AUTH:
            raise FatalError(1251, "08004", "Client does not support the authentication protocol of the server")
        salt = nonce()
        await channel.send(b"\xfe" + account.plugin.encode() + b"\0" + salt + b"\0")
        proof = await channel.read()
    if account.plugin == "mysql_native_password":
        proved = account.native_proof(salt, proof)
    else:
        proved = await _sha2_login(channel, state, salt, proof, in_pool)
    if not (account.known_as(login.user) and proved):
        raise faults.access_denied(login.user, host, proof not in (b"", b"\0"))


async def _sha2_login(
    channel: Channel, state: LoginState, salt: bytes, proof: bytes, in_pool: Callable[..., Awaitable[Any]]
) -> bool:
    account = state.account
    if not account.has_password or proof in (b"", b"\0"):
        return account.sha2_proof(salt, proof)
    if state.proved and account.sha2_proof(salt, proof):
        await channel.send(b"\x01\x03")  # fast: proved by the nonce alone
        return True
    await channel.send(b"\x01\x04")  # request full authentication
    response = await channel.read()
    if channel.cipher:
        password: bytes | None = response.removesuffix(b"\0")
    else:
        if response == b"\x02":
            await channel.send(b"\x01" + await in_pool(state.key.public_pem))
            response = await channel.read()
        password = state.key.decrypt(response, salt)
    proved = password is not None and account.password_proof(password)
    state.proved = state.proved or proved
    return proved


def decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SqlError(1300, "HY000", "Invalid utf8mb4 character string") from None
