"""Which addresses mail goes to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxport.delivery.recipients import check_recipient, masked
from fluxport.errors import Forbidden, Refused


@pytest.mark.parametrize(
    ("address", "checked"),
    [
        ("ann@example.com", "ann@example.com"),
        ("Ann.Lee+exports@Example.COM", "Ann.Lee+exports@example.com"),
        ("o'neil@example.com", "o'neil@example.com"),
        ("ann@mailhost", "ann@mailhost"),
        ("ann@MÜLLER.example", "ann@xn--mller-kva.example"),
        ("ann@xn--mller-kva.example", "ann@xn--mller-kva.example"),
        ("用户@例え.jp", "用户@xn--r8jz45g.jp"),
        ("jörg@example.com", "jörg@example.com"),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
    ],
)
def test_plain_addresses_are_taken(address: str, checked: str) -> None:
    assert check_recipient(address) == checked


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "@example.com",
        "ann@",
        "ann@@example.com",
        "ann@example.com,bob@example.com",
        "ann@example.com bob@example.com",
        "Ann <ann@example.com>",
        "<ann@example.com>",
        '"ann lee"@example.com',
        "ann(comment)@example.com",
        "ann@[127.0.0.1]",
        "ann@127.0.0.1",
        ".ann@example.com",
        "ann.@example.com",
        "ann..lee@example.com",
        "ann@-example.com",
        "ann@example..com",
        "ann@example.com.",
        "ann@exa_mple.com",
        "ann@example.com\r\nBcc: bob@example.com",
        "ann\r\nRCPT TO:<bob@example.com>@example.com",
        "ann\n@example.com",
        "ann@example.com\n",
        "ann\x00@example.com",
        "ann\u2028@example.com",
        "ann\u202e@example.com",
        "ann\u00a0lee@example.com",
        "ann\ud800@example.com",
        "jo\u0308rg@example.com",
        "ann@straße.de",
        "ann@１２７.0.0.1",
        "ann@exam\u200bple.com",
        "a" * 65 + "@example.com",
        "ö" * 33 + "@example.com",
        "ann@" + "a" * 64 + ".com",
        "ann@" + "a." * 126 + "com",
    ],
)
def test_anything_else_is_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(Refused) as caught:
        check_recipient(address)
    assert caught.value.code == "bad_recipient"
    assert len(address) < 13 or address not in caught.value.message


@given(st.text(st.characters()), st.text(st.characters()))
def test_what_is_taken_can_end_no_line_and_no_command(name: str, domain: str) -> None:
    for address in (f"{name}@{domain}", f"{name}@example.com", f"ann@{domain}"):
        try:
            checked = check_recipient(address)
        except Refused:
            continue
        assert not set(checked) & set('\r\n\0<> \t,;:\\"()[]')
        assert checked.count("@") == 1
        assert checked.rpartition("@")[2].isascii()
        assert check_recipient(checked) == checked


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("ann@example.com", True),
        ("ann@EXAMPLE.com", True),
        ("ann@sub.example.com", False),
        ("ann@notexample.com", False),
        ("ann@example.com.evil.test", False),
        ("ann@a.example.org", True),
        ("ann@a.b.example.org", True),
        ("ann@example.org", False),
        ("ann@müller.example", True),
        ("ann@xn--mller-kva.example", True),
    ],
)
def test_only_the_allowed_domains_are_written_to(address: str, allowed: bool) -> None:
    domains = ["Example.com", "*.example.org", "müller.example"]
    if allowed:
        check_recipient(address, domains)
    else:
        with pytest.raises(Forbidden) as caught:
            check_recipient(address, domains)
        assert caught.value.code == "recipient_not_allowed"


def test_no_domain_is_allowed_by_an_empty_list() -> None:
    with pytest.raises(Forbidden):
        check_recipient("ann@example.com", ())


def test_logs_show_enough_to_recognise_an_address_and_too_little_to_use_it() -> None:
    assert masked("ann@example.com") == "a***@example.com"
