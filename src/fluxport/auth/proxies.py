"""From which address a request came: that of the connection, or what the proxies that the configuration trusts add.

Each proxy appends the address that it was reached from, so the list is read from its end: an entry counts if everything
behind it is a trusted proxy. What a client writes into the header itself stands further to the left and is not reached.
One header alone is read, as a proxy that appends to one passes the other on as it came.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Header = Literal["x-forwarded-for", "forwarded"]

TEXT_MAX = 2048  # characters of the header's end: some forty proxies

_PAIR = re.compile(r'\s*([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*')


@dataclass(frozen=True)
class Hop:
    """One entry of the header: whom the proxy was reached by, and over which scheme, where it says so."""

    address: Address | None
    scheme: str = ""


@dataclass(frozen=True)
class Proxies:
    """``networks`` are those of the trusted proxies, ``header`` is where they write."""

    networks: tuple[Network, ...] = ()
    header: Header = "x-forwarded-for"

    def trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self.networks)

    def origin(self, peer: Address | None, lines: Sequence[str]) -> Hop:
        """Where the request came from, by the connection's ``peer`` and the header's ``lines`` in their order; without
        an address where nothing trusted knows one."""
        found = Hop(peer)
        if not self.trusts(peer):
            return found
        hops = _forwarded if self.header == "forwarded" else _addresses
        for hop in reversed(hops(",".join(lines)[-TEXT_MAX:])):
            if hop.address is None:
                break
            found = hop
            if not self.trusts(hop.address):
                break
        return found


def networks(words: Sequence[str]) -> tuple[Network, ...]:
    """ValueError, with a sentence, for what is no network."""
    found = []
    for word in words:
        try:
            found.append(ipaddress.ip_network(word))
        except ValueError:
            raise ValueError(f"{word!r} is no network; one is like 10.1.0.0/16 or 127.0.0.1") from None
    return tuple(found)


def address(text: str) -> Address | None:
    """An address, perhaps with a port; one of IPv4 within IPv6 is that of IPv4."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


def grpc_peer(peer: str) -> Address | None:
    """The address in gRPC's words for a peer: ``ipv4:127.0.0.1:50000``, ``ipv6:[::1]:50000`` (percent-encoded)."""
    return address(unquote(peer).partition(":")[2])


def neighbourhood(host: str) -> str:
    """What one client can take addresses from at will: itself, or its network of IPv6."""
    found = address(host)
    return str(ipaddress.ip_network((found, 64), strict=False)) if isinstance(found, ipaddress.IPv6Address) else host


def _addresses(text: str) -> list[Hop]:
    return [Hop(address(word)) for word in text.split(",")]


def _forwarded(text: str) -> list[Hop]:
    """RFC 7239: elements between commas, of pairs between semicolons; an element that is none is an unknown hop."""
    hops = []
    for element in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^,"]|")+', text):
        pairs: dict[str, str] = {}
        for part in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^;"]|")+', element):
            if found := _PAIR.fullmatch(part):
                pairs[found[1].lower()] = re.sub(r"\\(.)", r"\1", found[2].strip('"'))
        hops.append(Hop(address(pairs.get("for", "")), pairs.get("proto", "").lower()))
    return hops
