"""Where webhooks may go: URLs as written, and the addresses behind names."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxport.delivery.targets import AllowList, check_addresses, endpoints, is_public, read_target
from fluxport.delivery.webhook import WebhookOptions, check_url
from fluxport.errors import Refused

PUBLIC = WebhookOptions()


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/a?b=c",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com.",
        "https://xn--mller-kva.example/",
        "https://8.8.8.8/hook",
        "https://[2606:4700::1111]/hook",
        "HTTPS://Hooks.Example.COM/",
        "https://my_host.example.com/",
    ],
)
def test_public_https_urls_are_let_through(url: str) -> None:
    check_url(PUBLIC, url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "//hooks.example.com/",
        "https://",
        "https:///path",
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "https://user@hooks.example.com/",
        "https://user:password@hooks.example.com/",
        "https://@hooks.example.com/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:65536/",
        "https://hooks.example.com:x/",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\r\nHost: other",
        "https://hooks\t.example.com/",
        "\x00https://hooks.example.com/",
        "https://müller.example/",
        "https://１２７.0.0.1/",
        "https://hooks..example.com/",
        "https://-hooks-/",
        "https://%31%32%37.0.0.1/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://hooks.example.com/" + "a" * 2048,
        "https://" + "a." * 127 + "example.com/",
    ],
)
def test_invalid_and_ambiguous_urls_are_refused(url: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(PUBLIC, url)
    assert caught.value.code == "bad_url"


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f.1", "0x7f000001", "127.1", "0177.0.0.1", "1.2.3.4.5", "256.1.1.1"]
)
def test_numbers_that_some_readers_take_for_an_address_are_refused(host: str) -> None:
    with pytest.raises(Refused):
        check_url(PUBLIC, f"https://{host}/")


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "a.localhost", "printer", "db.internal", "nas.local", "metadata.google.internal"],
)
def test_internal_names_are_refused_before_any_resolution(host: str) -> None:
    with pytest.raises(Refused, match="not on the public internet"):
        check_url(PUBLIC, f"https://{host}/")


PRIVATE = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1"),
    *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("100.100.100.200", "168.63.129.16", "192.88.99.1"),
    *("::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "100::1"),
    *("2001:db8::1", "2001:2::1", "2001:10::1", "3fff::1", "5f00::1", "64:ff9b:1::808:808", "4000::1"),
]
PUBLIC_ADDRESSES = ["8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(Refused) as caught:
        check_url(PUBLIC, f"https://{host}/")
    assert caught.value.code == "webhook_not_public"


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses_are_let_through(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    check_url(PUBLIC, f"https://{host}/")


def forms(inner: str) -> dict[str, IPv6Address]:
    """Ways to write an IPv4 address as an IPv6 one."""
    number = int(IPv4Address(inner))
    prefixes = {
        "compatible": "::",
        "mapped": "::ffff:0:0",
        "translated": "::ffff:0:0:0",
        "NAT64": "64:ff9b::",
        "ISATAP": "2606:4700::5efe:0:0",
        "ISATAP global": "2606:4700::200:5efe:0:0",
    }
    made = {name: IPv6Address(int(IPv6Address(prefix)) + number) for name, prefix in prefixes.items()}
    made["6to4"] = IPv6Address((0x2002 << 112) | (number << 80) | 1)
    relay = int(IPv4Address("8.8.8.8"))
    made["Teredo"] = IPv6Address((0x20010000 << 96) | (relay << 64) | (~number & 0xFFFFFFFF))
    made["Teredo relay"] = IPv6Address((0x20010000 << 96) | (number << 64) | (~relay & 0xFFFFFFFF))
    return made


@pytest.mark.parametrize("form", forms("127.0.0.1"))
@pytest.mark.parametrize("inner", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "0.0.0.0"])
def test_a_private_address_within_another_form_is_refused(form: str, inner: str) -> None:
    with pytest.raises(Refused, match="not on the public internet"):
        check_url(PUBLIC, f"https://[{forms(inner)[form]}]/")


@pytest.mark.parametrize("form", forms("8.8.8.8"))
def test_a_public_address_within_another_form_is_let_through(form: str) -> None:
    check_url(PUBLIC, f"https://[{forms('8.8.8.8')[form]}]/")


@given(st.ip_addresses(v=4))
def test_every_form_of_an_address_ends_at_that_address(address: IPv4Address) -> None:
    for made in forms(str(address)).values():
        assert address in endpoints(made)


@given(st.ip_addresses())
def test_nothing_counts_as_public_that_python_knows_as_private(address: IPv4Address | IPv6Address) -> None:
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    target = read_target("https://hooks.example.com/", http_allowed=False)
    addresses = [ipaddress.ip_address(text) for text in ("8.8.8.8", "2606:4700::1111", "10.0.0.1")]
    with pytest.raises(Refused, match=r"hooks\.example\.com"):
        check_addresses(target, addresses, AllowList(()))


def test_the_allow_list_opens_hosts_by_name_and_networks_and_nothing_else() -> None:
    options = WebhookOptions(allow=("Hooks.corp", "*.teams.internal", "10.1.0.0/16", "::1", "192.168.0.5"))
    for url in (
        *("https://hooks.corp/", "https://a.teams.internal/", "https://10.1.2.3/", "https://[::1]/"),
        *("https://192.168.0.5:9000/", "https://[::ffff:10.1.2.3]/"),
    ):
        check_url(options, url)
    for url in (
        *("https://other.corp/", "https://sub.hooks.corp/", "https://teams.internal/", "https://10.2.0.1/"),
        *("https://192.168.0.6/", "https://[::2]/", "https://xteams.internal/"),
    ):
        with pytest.raises(Refused, match="not on the public internet"):
            check_url(options, url)


@pytest.mark.parametrize("entry", ["", "https://hooks.corp", "10.0.0.0/40", "hooks corp", "*"])
def test_an_allow_list_with_a_wrong_entry_is_refused_at_start(entry: str) -> None:
    with pytest.raises(Refused, match="neither a host name"):
        WebhookOptions(allow=(entry,))


def test_http_goes_only_where_the_configuration_allows_it() -> None:
    check_url(WebhookOptions(http_allowed=True), "http://hooks.example.com/")
    with pytest.raises(Refused, match="not on the public internet"):
        check_url(WebhookOptions(http_allowed=True), "http://127.0.0.1/")


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://hooks.example.com", "hooks.example.com", "/"),
        ("https://Hooks.example.com:443/a?b=c#d", "hooks.example.com", "/a?b=c"),
        ("https://hooks.example.com:8443?x", "hooks.example.com:8443", "/?x"),
        ("http://[2606:4700::1]:81/a//b", "[2606:4700::1]:81", "/a//b"),
    ],
)
def test_what_goes_into_the_request_is_what_the_url_says(url: str, authority: str, path: str) -> None:
    target = read_target(url, http_allowed=True)
    assert (target.authority, target.path) == (authority, path)
