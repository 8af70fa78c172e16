"""The login of a database on the command line, where a URL leaves parts of it out: the options of MySQL's own clients,
and a question on the terminal.

A service and the Python API never read these: what they connect to must not change with a file in a home folder.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

import click

from fluxport.errors import QueryFailed, Refused

if TYPE_CHECKING:
    from fluxport.api import Configured

T = TypeVar("T")

# Sections of ~/.my.cnf that are for every client; a later one overrides.
GROUPS = ("client", "client-server", "client-mariadb", "fluxport")
TLS = ("ssl-mode", "ssl-ca", "ssl-cert", "ssl-key")
_SCHEMES = ("mysql", "mariadb")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "\\": "\\", "s": " "}


@dataclass
class Login:
    """Completes the URLs of one command; ``password`` is what the user was asked for."""

    password: str | None = None

    def configured(self, path: Path | None) -> Configured:
        """The configuration, and what it lacks of a login."""
        from fluxport.api import Configured

        return Configured(
            path, completed=functools.cache(self.completed), authenticated=self.authenticated, own_process=True
        )

    def completed(self, url: str) -> str:
        """A URL of the command line, with what MySQL's clients would add to it."""
        parts = _split(url)
        if parts is None or parts.scheme.lower() not in _SCHEMES or parts.password is not None:
            return url
        return _with_options(parts, client_options(Path.home() / ".my.cnf"), os.environ)

    def authenticated(self, url: str) -> str:
        """``url`` with the password that the user was asked for."""
        return url if self.password is None else _with_password(url, self.password)


def asking(login: Login, may_ask: bool, url: Callable[[], str], run: Callable[[], T]) -> T:
    """The result of ``run``. If the database refuses the login of a ``url`` with a user and without a password, and
    there is a terminal, the user is asked for it once, and it runs again."""
    try:
        return run()
    except QueryFailed as error:
        if error.code != "login_refused" or not may_ask or not _is_terminal() or not lacks_password(url()):
            raise
    login.password = click.prompt("Password", hide_input=True, err=True, default="", show_default=False)
    return run()


def lacks_password(url: str) -> bool:
    """Whether ``url`` has a user and no password."""
    return _with_password(url, "x") != url


def _is_terminal() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None  # the source refuses it, with the reason
    return parts if "://" in url else None


def _with_password(url: str, password: str) -> str:
    """``url`` with ``password``, if it has a user and no password; the same URL if not."""
    parts = _split(url)
    if parts is None:  # the form of Go's driver, user@tcp(host)/database, which encodes nothing
        user, at, place = url.rpartition("@")
        return f"{user}:{password}@{place}" if at and user and ":" not in user else url
    if not parts.username or parts.password is not None:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()


def _with_options(parts: SplitResult, options: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """The URL with what it leaves out. A place in it excludes the file's place, another user the file's password."""
    user = unquote(parts.username) if parts.username else options.get("user", "")
    password = options.get("password") if user == options.get("user", user) else None
    password = environ.get("MYSQL_PWD") if password is None else password
    account = quote(user, safe="") + ("" if password is None else f":{quote(password, safe='')}")
    host = parts.netloc.rpartition("@")[2]
    added = {name: options[name] for name in TLS if name in options and f"{name}=" not in parts.query.replace("_", "-")}
    if not host and "socket=" not in parts.query:
        host = options.get("host", "") + (f":{options['port']}" if "port" in options else "")
        if "socket" in options and options.get("host", "localhost") == "localhost":
            added["socket"] = options["socket"]
    host = host if not host.startswith(":") else f"127.0.0.1{host}"
    query = "&".join(filter(None, [parts.query, urlencode(added)]))
    # Not by geturl(), which leaves out the slashes of an empty host.
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    return f"{parts.scheme}://{f'{account}@' if account else ''}{host}{parts.path}{query and f'?{query}'}{fragment}"


def client_options(path: Path) -> dict[str, str]:
    """The login in an option file of MySQL's clients; empty if there is no such file. Refused if others may have
    written it, or it cannot be read."""
    try:
        text = path.read_text("utf-8")
        if stat.S_IMODE(path.stat().st_mode) & stat.S_IWOTH:
            raise Refused(f"Everyone may write the file {path}, so it is not used: chmod 600 {path}.", code="bad_file")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise Refused(f"The file {path} cannot be read; repair it, or set HOME.", code="bad_file") from None
    import configparser

    parser = configparser.RawConfigParser(
        strict=False, allow_no_value=True, delimiters=("=",), comment_prefixes=("#", ";"), default_section="\0"
    )
    parser.optionxform = _option_name  # type: ignore[method-assign]  # as its documentation says to set it
    try:
        parser.read_string("\n".join(line.lstrip() for line in text.splitlines() if not line.lstrip().startswith("!")))
    except configparser.Error:
        raise Refused(f"The file {path} is no option file of MySQL; repair it.", code="bad_file") from None
    found = {name: value for group in GROUPS if parser.has_section(group) for name, value in parser.items(group)}
    return {name: _value(value) for name, value in found.items() if value is not None}


def _option_name(optionstr: str) -> str:
    return optionstr.strip().lower().replace("_", "-").removeprefix("loose-")


def _value(text: str) -> str:
    """A value without its quotes or the comment behind it, and with the characters that its escapes stand for."""
    text = text.strip()
    text = text[1:].partition(text[0])[0] if text[:1] in ("'", '"') else text.partition("#")[0].rstrip()
    return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[0]), text)
