"""Authenticates callers: a bearer key in the metadata, or a trusted network that needs none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from fluxport.auth.caller import Caller
from fluxport.auth.keys import Keys, is_bearer
from fluxport.auth.proxies import Network, Proxies, grpc_peer
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
    """``keyless`` are networks whose programs push as ``keyless_owner`` without a key."""

    keys: Keys
    rate: Rate
    keyless_owner: str
    keyless: tuple[Network, ...] = ()
    answers: AnswerRules = field(default_factory=AnswerRules)
    proxies: Proxies = field(default_factory=Proxies)

    def verified(self, metadata: Metadata, peer: str) -> tuple[Caller, Answers]:
        """The caller, and which responses it accepts. Unauthorized; TooMany; Refused. Reads the table of keys."""
        headers = [str(value) for name, value in metadata if name == "authorization"]
        lines = [str(value) for name, value in metadata if name == self.proxies.header]
        address = self.proxies.origin(grpc_peer(peer), lines).address
        keyless = any(address in network for network in self.keyless if address is not None)
        if keyless and not any(map(is_bearer, headers)):  # credentials of another system are none
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
