"""The address of a client: as trusted proxies forward it, never as the client itself claims."""

from __future__ import annotations

import pytest

from fluxport.auth.proxies import Header, Proxies, address, grpc_peer, neighbourhood, networks

TRUSTED = networks(["10.0.0.0/8", "fd00::/8"])
CLIENT = "203.0.113.7"

# The connection's peer, the header's lines, and from where the request came.
CASES: list[tuple[str, list[str], str]] = [
    (CLIENT, [], CLIENT),
    (CLIENT, ["192.0.2.1"], CLIENT),  # a client that writes the header itself
    (CLIENT, ["192.0.2.1, 10.0.0.1"], CLIENT),
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", [CLIENT], CLIENT),
    ("10.0.0.1", ["192.0.2.1, " + CLIENT], CLIENT),  # the same through a proxy, which appends
    ("10.0.0.1", ["192.0.2.1", CLIENT], CLIENT),  # in a line of its own
    ("10.0.0.1", [f"192.0.2.1, {CLIENT}, 10.0.0.2"], CLIENT),  # two proxies
    ("10.0.0.1", [f"10.0.0.9, {CLIENT}, 10.0.0.2"], CLIENT),  # a client that says it is a proxy
    ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ("10.0.0.1", ["unknown, 10.0.0.2"], "10.0.0.2"),
    ("10.0.0.1", ["192.0.2.1, unknown"], "10.0.0.1"),  # nothing behind what cannot be read counts
    ("10.0.0.1", ["192.0.2.1, "], "10.0.0.1"),
    ("10.0.0.1", [f"{CLIENT}:4711"], CLIENT),
    ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
    ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
    ("::ffff:10.0.0.1", [CLIENT], CLIENT),
    ("fd00::1", ["::ffff:" + CLIENT], CLIENT),
    ("10.0.0.1", ["1.2.3.4," * 5000 + CLIENT], CLIENT),
]


@pytest.mark.parametrize(("peer", "lines", "origin"), CASES)
def test_the_list_is_read_from_its_end_through_trusted_proxies_alone(peer: str, lines: list[str], origin: str) -> None:
    found = Proxies(TRUSTED).origin(address(peer), lines)
    assert str(found.address) == origin


@pytest.mark.parametrize(("peer", "lines", "origin"), CASES)
def test_the_header_forwarded_is_read_as_well(peer: str, lines: list[str], origin: str) -> None:
    said = [", ".join(f'for="{word.strip()}";proto=HTTPS;by=_proxy' for word in line.split(",")) for line in lines]
    assert str(Proxies(TRUSTED, "forwarded").origin(address(peer), said).address) == origin


@pytest.mark.parametrize(
    ("line", "origin", "scheme"),
    [
        (f"for=192.0.2.1, for={CLIENT};proto=https", CLIENT, "https"),
        (f'proto=http;for="{CLIENT}:80"', CLIENT, "http"),
        (f'by="a,b;for=192.0.2.1";FOR={CLIENT}', CLIENT, ""),
        (f"for=_hidden;proto=https, for={CLIENT}", CLIENT, ""),
        (rf'for="\{CLIENT[0]}{CLIENT[1:]}";proto="\h\ttp"', CLIENT, "http"),
        ("for=_hidden", "10.0.0.1", ""),
        ('for="', "10.0.0.1", ""),
        ('"' * 60_000, "10.0.0.1", ""),
        ('"\\' * 30_000, "10.0.0.1", ""),
        (";=,;=for", "10.0.0.1", ""),
    ],
)
def test_forwarded_is_read_as_its_rfc_says(line: str, origin: str, scheme: str) -> None:
    found = Proxies(TRUSTED, "forwarded").origin(address("10.0.0.1"), [line])
    assert (str(found.address), found.scheme) == (origin, scheme)


def test_the_last_2048_characters_of_the_header_count() -> None:
    line = f"{CLIENT}:12345,  " + ", ".join(["10.0.0.2"] * 203)
    assert len(line) == 2048
    assert str(Proxies(TRUSTED).origin(address("10.0.0.1"), [line]).address) == CLIENT
    assert str(Proxies(TRUSTED).origin(address("10.0.0.1"), [line + " "]).address) == "10.0.0.2"


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("no address", "no address"),
    ],
)
def test_a_client_of_ipv6_has_a_network_of_64_bits(host: str, reach: str) -> None:
    assert neighbourhood(host) == reach


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_no_proxy_is_trusted_unless_named(header: Header) -> None:
    assert str(Proxies(header=header).origin(address("127.0.0.1"), [CLIENT, f"for={CLIENT}"]).address) == "127.0.0.1"
    with pytest.raises(ValueError, match="is not a network"):
        networks(["proxy.example.com"])


def test_peers_of_grpc_are_addresses() -> None:
    assert str(grpc_peer("ipv4:127.0.0.1:50000")) == "127.0.0.1"
    assert str(grpc_peer("ipv6:%5B::1%5D:50000")) == "::1"
    assert str(grpc_peer("ipv6:[::ffff:10.0.0.1]:50000")) == "10.0.0.1"
    assert grpc_peer("unix:/tmp/socket") is None
