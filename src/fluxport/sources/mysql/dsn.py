"""The data source name: a URL or the form of Go's driver, parsed once into one dataclass.

::

    mysql://user:password@host:3306/database?ssl-mode=verify-identity&connect-timeout=5s
    mysql://user@/database?socket=/run/mysqld/mysqld.sock
    user:password@tcp(host:3306)/database?parseTime=true&tls=true

Messages repeat no part of the text except option names: an unescaped ``/`` or ``@`` can put a password anywhere.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from fluxport.errors import Refused
from fluxport.sources import timeouts

# "auto" is the default: like preferred, but plain on loopback, where there is no network to eavesdrop on.
TlsMode = Literal["auto", "disabled", "preferred", "required", "verify-ca", "verify-identity"]

TLS_MODES: dict[str, TlsMode] = {
    "disabled": "disabled",
    "preferred": "preferred",
    "required": "required",
    "verify-ca": "verify-ca",
    "verify-identity": "verify-identity",
}
GO_TLS_MODES: dict[str, TlsMode] = {
    "true": "verify-identity",
    "1": "verify-identity",
    "skip-verify": "required",
    "preferred": "preferred",
    "false": "disabled",
    "0": "disabled",
}
# Options of Go's driver for behaviour that is always on here, or that a reader of rows does not need.
IGNORED = frozenset({
    "allowallfiles", "allowcleartextpasswords", "allowfallbacktoplaintext", "allownativepasswords", "allowoldpasswords",
    "charset", "checkconnliveness", "clientfoundrows", "collation", "columnswithalias", "compress",
    "connectionattributes", "interpolateparams", "loc", "maxallowedpacket", "multistatements", "parsetime",
    "rejectreadonly", "serverpubkey", "timetruncate", "writetimeout",
})  # fmt: skip
_URL = re.compile(r"(?:mysql|mariadb)://", re.IGNORECASE)
_EXAMPLE = "write it like mysql://user:password@host:3306/database"


@dataclass(frozen=True)
class Dsn:
    """One server and account; ``socket``, the path of a unix socket, takes precedence over host and port."""

    host: str = "127.0.0.1"
    port: int = 3306
    socket: str | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    tls: TlsMode = "auto"
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    connect_timeout_s: float = timeouts.CONNECT_TIMEOUT_S
    read_timeout_s: float = timeouts.READ_TIMEOUT_S
    tinyint1_bool: bool = False
    prepared: bool = True
    via_port: int | None = None  # of 127.0.0.1, where a tunnel to the server begins
    shown: str = ""

    @property
    def loopback(self) -> bool:
        return self.socket is not None or self.host in ("localhost", "::1") or self.host.startswith("127.")

    @property
    def place(self) -> str:
        """The server's name in messages: ``shown`` if set, which hides the address, else socket or host and port."""
        address = f"[{self.host}]" if ":" in self.host else self.host
        return self.shown or self.socket or f"{address}:{self.port}"


def parse_dsn(text: str, defaults: Dsn | None = None) -> Dsn:
    """Parse ``text`` in either form, over ``defaults``; Refused with the reason."""
    if any(ord(c) < 32 for c in text):
        raise _refused("it holds a control character; percent-encode it in a URL")
    fields, options = _parse_url(text) if _URL.match(text) else _parse_go(text)
    return dataclasses.replace(defaults or Dsn(), **fields, **_parse_options(options))


def _refused(what: str) -> Refused:
    return Refused(f"The MySQL data source is invalid: {what}.", code="bad_dsn")


def _parse_url(text: str) -> tuple[dict[str, Any], str]:
    try:
        parts = urlsplit(text)
        port = parts.port
        host = unquote(parts.hostname or "")
    except ValueError:
        raise _refused(
            "host or port cannot be read (a password's '/', '@', ':', '#', '?' must be percent-encoded); " + _EXAMPLE
        ) from None
    if parts.fragment or "#" in text:
        raise _refused("it has a '#'; if it belongs to the password write it as %23")
    database = unquote(parts.path.removeprefix("/"))
    if "@" in database or "/" in parts.path.removeprefix("/"):
        raise _refused("the database's name has a '/' or '@' in it; in a password write them as %2F and %40")
    fields: dict[str, Any] = {
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": database,
    }
    if host.startswith("/"):
        fields["socket"] = host
    elif host:
        fields["host"] = host
    if port:
        fields["port"] = port
    return fields, parts.query


_GO_FORM = re.compile(
    r"(?:(?P<user>[^:@]*)(?::(?P<password>.*))?@)?(?:(?P<net>tcp|unix)(?:\((?P<address>.*)\))?)?"
    r"/(?P<database>[^/?]*)(?:\?(?P<options>.*))?",
    re.DOTALL,
)
_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")


def _parse_go(text: str) -> tuple[dict[str, Any], str]:
    match = _GO_FORM.fullmatch(text)  # greedy: the last '@' ends the password, which may contain others
    if match is None:
        raise _refused(f"it is neither a URL nor user:password@tcp(host:3306)/database; {_EXAMPLE}")
    fields: dict[str, Any] = {
        "user": match["user"] or "",
        "password": match["password"] or "",
        "database": unquote(match["database"]),
    }
    if match["net"] == "unix":
        fields["socket"] = match["address"] or "/tmp/mysql.sock"  # noqa: S108  the default of Go's driver
    elif match["address"]:
        address = _ADDRESS.fullmatch(match["address"])
        if address is None or not 0 < int(address["port"] or 3306) < 65536:
            raise _refused("the address in tcp(...) must be host:port")
        fields["host"] = address["v6"] or address["host"]
        fields["port"] = int(address["port"] or 3306)
    return fields, match["options"] or ""


def _parse_options(query: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise _refused("its options must be name=value, joined by '&'") from None
    for option, value in pairs:
        name = option.lower().replace("_", "-")
        if name in OPTIONS:
            key, parse = OPTIONS[name]
            fields[key] = parse(option, value)
        elif name.replace("-", "") not in IGNORED:
            import difflib

            near = difflib.get_close_matches(name, OPTIONS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(OPTIONS)}."
            raise Refused(f"The MySQL data source has an unknown option {option!r}; {hint}", code="bad_dsn")
    if "tls_ca" in fields and fields.get("tls", "preferred") == "preferred":
        fields["tls"] = "verify-ca"  # like the server's own clients: naming a CA implies checking against it
    return fields


def _text(name: str, value: str) -> str:
    if not value:
        raise _refused(f"option {name!r} is empty")
    return value


def _choice(choices: dict[str, Any]) -> Callable[[str, str], Any]:
    def parse(name: str, value: str) -> Any:
        if value.lower().replace("_", "-") not in choices:
            raise _refused(f"option {name!r} takes one of {', '.join(choices)}")
        return choices[value.lower().replace("_", "-")]

    return parse


def _seconds(name: str, value: str) -> float:
    """Go's durations (``1m30s``, ``500ms``) or plain seconds."""
    timeout_s = timeouts.timeout(value)
    if timeout_s is None:
        raise _refused(timeouts.refused(name))
    return timeout_s


def _port(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 0 < int(value) < 65536:
        raise _refused(f"option {name!r} takes a port, 1 to 65535")
    return int(value)


# Name in the URL (lower case, '-' for '_') -> field of Dsn and the parser of its value.
OPTIONS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "ssl-mode": ("tls", _choice(dict(TLS_MODES))),
    "tls": ("tls", _choice(dict(GO_TLS_MODES))),
    "ssl-ca": ("tls_ca", _text),
    "ssl-cert": ("tls_cert", _text),
    "ssl-key": ("tls_key", _text),
    "socket": ("socket", _text),
    "unix-socket": ("socket", _text),
    **{name: (field, _seconds) for name, field in timeouts.FIELDS.items()},
    "timeout": ("connect_timeout_s", _seconds),  # this and the next are those of Go's driver
    "readtimeout": ("read_timeout_s", _seconds),
    # false: the text protocol, for proxies that cannot prepare statements; no parameters then
    "prepared": ("prepared", _choice({"true": True, "false": False})),
    "via-port": ("via_port", _port),
    "tinyint1": ("tinyint1_bool", _choice({"bool": True, "int": False})),
}
