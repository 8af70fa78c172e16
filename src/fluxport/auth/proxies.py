"""The client's address: that of the connection, or the one that trusted proxies forward.

Each proxy appends the address that connected to it, so the list is read from its end: an entry counts if everything
after it is a trusted proxy. Entries that the client itself sent are further left and never reached. Only one header is
read, because a proxy that appends to one passes the other on unchanged:

    X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.2      connection from 10.0.0.3
                     forged   the client   trusted        trusted
                              <----------- read from the right
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

# By which a proxy in front can be recognized, whether it is trusted or not.
ADDED_BY_PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-host", "via")
TEXT_MAX = 2048  # characters of the header's end: some forty proxies

_PAIR = re.compile(r'\s*([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*')


@dataclass(frozen=True)
class Hop:
    """One entry of the header: the address that connected to the proxy, and the scheme, if given."""

    address: Address | None
    scheme: str = ""


@dataclass(frozen=True)
class Proxies:
    """``networks`` are those of the trusted proxies, ``header`` is the one that they append to."""

    networks: tuple[Network, ...] = ()
    header: Header = "x-forwarded-for"

    def trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self.networks)

    def origin(self, peer: Address | None, lines: Sequence[str]) -> Hop:
        """The origin of a request, from the connection's ``peer`` and the header's ``lines`` in order; its address is
        None if the peer's is."""
        origin = Hop(peer)
        if not self.trusts(peer):
            return origin
        hops = _forwarded if self.header == "forwarded" else _addresses
        for hop in reversed(hops(",".join(lines)[-TEXT_MAX:])):
            if hop.address is None:
                break
            origin = hop
            if not self.trusts(hop.address):
                break
        return origin


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The parsed networks; ValueError with a sentence for an invalid one."""
    parsed = []
    for text in texts:
        try:
            parsed.append(ipaddress.ip_network(text))
        except ValueError:
            raise ValueError(f"{text!r} is not a network; write 10.1.0.0/16 or 127.0.0.1") from None
    return tuple(parsed)


def address(text: str) -> Address | None:
    """The address of a text with or without a port; an IPv4-mapped IPv6 address becomes IPv4. None if it is invalid."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed


def grpc_peer(peer: str) -> Address | None:
    """The address in gRPC's name of a peer: ``ipv4:127.0.0.1:50000``, ``ipv6:[::1]:50000`` (percent-encoded)."""
    return address(unquote(peer).partition(":")[2])


def neighbourhood(host: str) -> str:
    """The range of addresses that one client can use at will: its IPv4 address, or its IPv6 /64 network."""
    parsed = address(host)
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if isinstance(parsed, ipaddress.IPv6Address) else host


def _addresses(text: str) -> list[Hop]:
    return [Hop(address(word)) for word in text.split(",")]


def _forwarded(text: str) -> list[Hop]:
    """RFC 7239: elements between commas, of pairs between semicolons; an invalid element is an unknown hop."""
    hops = []
    for element in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^,"]|")+', text):
        pairs: dict[str, str] = {}
        for part in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^;"]|")+', element):
            if pair := _PAIR.fullmatch(part):
                pairs[pair[1].lower()] = re.sub(r"\\(.)", r"\1", pair[2].strip('"'))
        hops.append(Hop(address(pairs.get("for", "")), pairs.get("proto", "").lower()))
    return hops
