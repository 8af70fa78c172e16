"""Who is calling: a bearer key in the metadata, or a program of a network that needs none."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from fluxport.auth.keys import Keys
from fluxport.auth.rate import Rate
from fluxport.errors import Unauthorized
from fluxport.jobs.store import Caller
from fluxport.telemetry import logs

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True)
class PushCallers:
    """``keyless`` are networks whose programs push as ``keyless_owner`` without a key; ``one_answer`` the names or ids
    of keys whose programs take one answer only."""

    keys: Keys
    rate: Rate
    keyless: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    keyless_owner: str = "push"
    one_answer: frozenset[str] = frozenset()

    def verified(self, metadata: Metadata, peer: str) -> tuple[Caller, bool]:
        """The caller, and whether it takes one answer only. Unauthorized; TooMany. Reads the table of keys."""
        headers = [str(value) for name, value in metadata if name == "authorization"]
        address = _address(peer)
        if not headers and any(address in network for network in self.keyless if address is not None):
            caller, named = Caller(self.keyless_owner, scopes=frozenset({"push"})), ""
        else:
            key = self.keys.bearer(headers)
            if key is None:
                raise Unauthorized("This needs a key with the scope push as metadata 'authorization: Bearer ...'.")
            caller = Caller(key.owner, key_id=key.id, scopes=key.scopes, active_max=key.active_max)
            named = key.name
        self.rate.take(f"key {caller.key_id}" if caller.key_id else f"user {caller.owner}")
        given = {name: str(value) for name, value in metadata}
        one = given.get("x-fluxport-responses") == "final" or bool({named, caller.key_id} & self.one_answer)
        trace = logs.trace_id(given.get("traceparent", ""))
        return replace(caller, address=str(address or ""), trace_id=trace), one


def _address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address in gRPC's words for a peer: ``ipv4:127.0.0.1:50000``, ``ipv6:[::1]:50000`` (percent-encoded)."""
    _, _, rest = unquote(peer).partition(":")
    host = rest.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found
