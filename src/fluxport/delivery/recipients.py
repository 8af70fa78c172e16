"""Mail addresses, parsed strictly: one plain ``name@domain``, nothing that a mail server could read as several.

Quoted names, comments, address literals and lists are refused: no recipient needs them. An international domain becomes
its ``xn--`` form if every version of the rules agrees on it (not so for ``straße.de``); an international name stays and
needs a mail server with SMTPUTF8.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from fluxport.errors import Forbidden, Refused

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_NAME = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)*(?!\d+$){_LABEL}")  # ends in a name: 127.0.0.1 is not a domain


def check_recipient(address: str, domains: Collection[str] | None = None) -> str:
    """The address with its domain in lowercase ASCII; Refused if it is invalid, Forbidden if its domain is not allowed.

    ``domains`` are the allowed ones (None: any): ``example.com``, or ``*.example.com`` for all its subdomains.
    """
    name, _, domain = address.rpartition("@")
    host = _ascii_domain(domain)
    # RFC 5321, 4.5.3.1: 64 octets of name, 254 of address.
    if host is None or not _is_name(name) or len(name.encode()) > 64 or len(f"{name}@{host}".encode()) > 254:
        raise Refused(
            "The recipient must be one plain address such as name@example.com; an international domain may need its "
            "xn-- form.",
            code="bad_recipient",
        )
    if domains is not None and not any(_covers(domain, host) for domain in domains):
        raise Forbidden(
            f"Mail to the domain {host} is not allowed with this key: use an address of an allowed domain.",
            code="recipient_not_allowed",
        )
    return f"{name}@{host}"


def masked(address: str) -> str:
    """The address for logs: recognisable, but not usable."""
    name, _, domain = address.rpartition("@")
    return f"{name[:1]}***@{domain}"


def _is_name(name: str) -> bool:
    if not _NAME.fullmatch(name) or unicodedata.normalize("NFC", name) != name:
        return False
    return all(char.isascii() or unicodedata.category(char)[0] in "LMN" for char in name)


def _ascii_domain(domain: str) -> str | None:
    domain = domain.lower()
    if not domain.isascii():
        try:
            encoded = domain.encode("idna")
            if encoded.decode("idna") != domain:
                return None
        except UnicodeError:
            return None
        domain = encoded.decode("ascii")
    return domain if len(domain) <= 253 and _DOMAIN.fullmatch(domain) else None


def is_domain(allowed: str) -> bool:
    """Whether ``allowed`` can be one of the domains of :func:`check_recipient`."""
    return _ascii_domain(allowed.removeprefix("*.")) is not None


def _covers(allowed: str, host: str) -> bool:
    if allowed.startswith("*."):
        parent = _ascii_domain(allowed[2:])
        return parent is not None and host.endswith("." + parent)
    return host == _ascii_domain(allowed)
