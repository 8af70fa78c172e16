"""Authenticates callers: a bearer key in the metadata, or a trusted network that needs none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from fluxport.auth.caller import Caller
from fluxport.auth.keys import Keys, is_bearer
from fluxport.auth.proxies import ADDED_BY_PROXIES, Address, Network, Proxies, grpc_peer
from fluxport.auth.rate import Rate
from fluxport.errors import Unauthorized
from fluxport.grpc.answers import HEADER, AnswerRules, Answers
from fluxport.telemetry import traces

Metadata = Sequence[tuple[str, str | bytes]]


def metadata_of(context: Any) -> Metadata:
    """The metadata of a call."""
    return [(name, value) for name, value in context.invocation_metadata() or ()]


def call_span(service: str, method: str, context: Any) -> AbstractContextManager[traces.Span]:
    """The span of a call, below the ``traceparent`` in its metadata."""
    given = next((str(value) for name, value in metadata_of(context) if name == "traceparent"), "")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
    return traces.span(f"{service}/{method}", traces.accepted(given), attributes, kind="server")


@dataclass(frozen=True)
class PushCallers:
    """``keyless`` are networks whose programs push as ``keyless_owner`` without a key; ``open_to`` is who may read
    sensors without one: callers on this machine, everybody, or no one."""

    keys: Keys
    rate: Rate
    keyless_owner: str
    open_to: Literal["local", "on", "off"]
    keyless: tuple[Network, ...] = ()
    answers: AnswerRules = field(default_factory=AnswerRules)
    proxies: Proxies = field(default_factory=Proxies)

    def verified(self, metadata: Metadata, peer: str) -> tuple[Caller, Answers]:
        """The caller, and which responses it accepts. Unauthorized; TooMany; Refused. Reads the table of keys."""
        headers, address = _authorization(metadata), self._address(metadata, peer)
        ours = any(map(is_bearer, headers))  # credentials of another system are none
        if not ours and self._is_keyless(metadata, peer, address):
            caller, key_name = Caller(self.keyless_owner, scopes=frozenset({"push"})), ""
        else:
            key = self.keys.bearer(headers)
            if key is None:
                raise Unauthorized("This needs a key with the scope push as metadata 'authorization: Bearer ...'.")
            caller = Caller.of_key(key)
            key_name = key.name
        self.rate.take(caller.rated)
        given = {name: str(value) for name, value in metadata}
        answers = self.answers.choose(given.get(HEADER, ""), (key_name, caller.key_id or ""), address)
        return replace(caller, address=str(address or "")), answers

    def check_reader(self, metadata: Metadata, peer: str) -> None:
        """Admit a caller that reads sensors, as the same readers over HTTP: with a key of the scope series, or without
        one of ours where ``open_to`` admits it. Unauthorized; Forbidden; TooMany."""
        headers, here = _authorization(metadata), grpc_peer(peer)
        local = here is not None and here.is_loopback and not _forwarded(metadata)
        admitted = self.open_to == "on" or (self.open_to == "local" and local)
        if admitted and not any(map(is_bearer, headers)):
            self.rate.take(f"address {self._address(metadata, peer) or ''}")
            return
        key = self.keys.bearer(headers)
        if key is None:
            raise Unauthorized("This needs a key with the scope series as metadata 'authorization: Bearer ...'.")
        caller = Caller.of_key(key)
        self.rate.take(caller.rated)
        caller.need("series")

    def _is_keyless(self, metadata: Metadata, peer: str, address: Address | None) -> bool:
        """Whether the client is in a network that needs no key. False behind a proxy that is not trusted, as the
        address is the proxy's then."""
        if address is None or (_forwarded(metadata) and not self.proxies.trusts(grpc_peer(peer))):
            return False
        return any(address in network for network in self.keyless)

    def _address(self, metadata: Metadata, peer: str) -> Address | None:
        lines = [str(value) for name, value in metadata if name == self.proxies.header]
        return self.proxies.origin(grpc_peer(peer), lines).address


def _forwarded(metadata: Metadata) -> bool:
    """Whether a proxy passed the call on."""
    return any(name in ADDED_BY_PROXIES for name, _ in metadata)


def _authorization(metadata: Metadata) -> list[str]:
    return [str(value) for name, value in metadata if name == "authorization"]
