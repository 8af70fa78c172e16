"""Checks URLs of callers before a request is sent: protection against requests to internal addresses (SSRF).

The rule is about addresses, not names: every address that a name resolves to must be public, in whatever form it is
written, and the connection is opened to a checked address itself, so that a different result of a second resolution has
no effect (DNS rebinding). Names are only checked to refuse early with a clear message.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias
from urllib.parse import urlsplit

from fluxport.errors import Refused

Address: TypeAlias = IPv4Address | IPv6Address

_URL_BYTES_MAX = 2048
_HOST_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # with such a last label, some parsers read the host as an IPv4 address
_LOCAL_SUFFIXES = frozenset(
    {"localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "arpa"}
)

# IANA's special-purpose registries, listed here because Python's own list differs between its versions; and
# 168.63.129.16, the metadata address of Azure's machines (those of other clouds are in these networks).
_SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
        ),
    )
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")  # all allocated unicast; loopback, local and multicast are outside
_SPECIAL_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))

# IPv6 forms that embed an IPv4 address, and its distance from the right in bits: compatible, mapped, translated, NAT64,
# 6to4.
#   64:ff9b::10.0.0.1   | prefix, 96 bits | IPv4, 32 bits |            shift 0
#   2002:0a00:0001::    | 2002 | IPv4, 32 bits | 80 bits |             shift 80
_EMBEDDED = (
    (IPv6Network("::/96"), 0),
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)
_TEREDO = IPv6Network("2001::/32")
_ISATAP = 0x0000_5EFE  # upper half of the interface id; 0x0200_5efe for global ones


@dataclass(frozen=True)
class Target:
    """A parsed URL; ``authority`` and ``path`` (with its query) are as sent in the request."""

    encrypted: bool
    host: str
    port: int
    authority: str
    path: str
    of: str = "webhook"  # its noun in messages

    @property
    def literal(self) -> Address | None:
        return _address(self.host)


class AllowList:
    """Hosts by name (``hooks.corp``, ``*.hooks.corp``) and networks (``10.1.0.0/16``, ``127.0.0.1``) that may be
    reached although they are not public."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._names: set[str] = set()
        self._parents: list[str] = []
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in (entry.lower() for entry in entries):
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
                continue
            except ValueError:
                name = entry.removeprefix("*.")
            if not _HOST_NAME.fullmatch(name):
                raise Refused(f"{entry!r} is neither a host name (hooks.example.com) nor a network (10.0.0.0/8).")
            if name == entry:
                self._names.add(name)
            else:
                self._parents.append("." + name)

    def names(self, host: str) -> bool:
        return host in self._names or any(host.endswith(parent) for parent in self._parents)

    def covers(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def read_target(url: str, *, http_allowed: bool, of: str = "webhook") -> Target:
    """The parts of an absolute URL; Refused if it is ambiguous, or without TLS."""
    # Checked first: urlsplit silently drops tabs and line ends, and parsers disagree about backslashes.
    if not re.fullmatch(rf"[!-~]{{1,{_URL_BYTES_MAX}}}", url) or "\\" in url:
        raise _bad_url(
            of, f"must be at most {_URL_BYTES_MAX} ASCII characters without spaces (a host in its xn-- form)"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _bad_url(of, "is not a valid URL") from None
    if parts.scheme not in ("https", "http"):
        raise _bad_url(of, "must start with https://")
    if parts.scheme == "http" and not http_allowed:
        raise _bad_url(of, "must start with https://; http is not allowed here")
    if "@" in parts.netloc:
        raise _bad_url(of, "must not contain a user or password")
    host = (parts.hostname or "").removesuffix(".")
    address = _address(host)
    if address is None and (not _HOST_NAME.fullmatch(host) or len(host) > 253 or _NUMBER.fullmatch(_last_label(host))):
        raise _bad_url(of, "has no valid host")
    default = 443 if parts.scheme == "https" else 80
    port = default if port is None else port
    if port == 0:
        raise _bad_url(of, "has no valid port")
    shown = f"[{host}]" if isinstance(address, IPv6Address) else host
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme == "https", host, port, shown if port == default else f"{shown}:{port}", path, of)


def check_name(target: Target, allow: AllowList) -> None:
    """Refused if the name, or a literal address, already shows that the target is not public."""
    if allow.names(target.host):
        return
    if target.literal is not None:
        check_addresses(target, [target.literal], allow)
    elif "." not in target.host or _last_label(target.host) in _LOCAL_SUFFIXES:
        raise _not_public(target)


def check_addresses(target: Target, addresses: Sequence[Address], allow: AllowList) -> None:
    """Refused unless every address is public, or allowed by its network or by the target's name."""
    if allow.names(target.host):
        return
    for address in addresses:
        ends = endpoints(address)
        if not (allow.covers(address) or all(allow.covers(end) or is_public(end) for end in ends)):
            raise _not_public(target)


def endpoints(address: Address) -> tuple[Address, ...]:
    """The addresses that packets to ``address`` may reach: itself, or the IPv4 addresses embedded in it."""
    if isinstance(address, IPv4Address):
        return (address,)
    number = int(address)
    if address in _TEREDO:
        return _ipv4(number >> 64), _ipv4(~number)  # the relay's, and the client's, whose bits are inverted
    for network, shift in _EMBEDDED:
        if address in network:
            return (_ipv4(number >> shift),)
    if (number >> 32) & 0xFDFF_FFFF == _ISATAP:
        return address, _ipv4(number)
    return (address,)


def is_public(address: Address) -> bool:
    """Whether this is a public address; forms that embed another address are not."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def _ipv4(number: int) -> IPv4Address:
    return IPv4Address(number & 0xFFFF_FFFF)


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host) if "%" not in host else None
    except ValueError:
        return None


def _last_label(host: str) -> str:
    return host.rpartition(".")[2]


def _bad_url(of: str, why: str) -> Refused:
    return Refused(f"The {of}'s URL {why}.", code="bad_url")


def _not_public(target: Target) -> Refused:
    return Refused(
        f"The {target.of}'s host {target.host} is not on the public internet: use a public host, or add this one to "
        "the setting webhooks.allow.",
        code=f"{target.of}_not_public",
    )
