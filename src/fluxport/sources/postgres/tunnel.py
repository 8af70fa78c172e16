"""PostgreSQL through an SSH tunnel: libpq connects to ``hostaddr``, and verifies the certificate of ``host``."""

from __future__ import annotations

from fluxport.errors import Refused
from fluxport.sources.postgres.link import conninfo
from fluxport.sources.tunnels import Tunneled, with_option

DEFAULT_PORT = 5432


def _address(url: str) -> tuple[str, int]:
    """The one host of the URL; without one, the machine of the SSH server."""
    given, _, _ = conninfo(url, {})
    host, port = given.get("hostaddr") or given.get("host") or "127.0.0.1", given.get("port") or str(DEFAULT_PORT)
    if host.startswith("/") or "," in host or not port.isdigit():
        raise Refused("An SSH tunnel leads to one host and port: name one, and no Unix socket.", code="bad_dsn")
    return host, int(port)


def _through(url: str, port: int) -> str:
    return with_option(with_option(url, "hostaddr", "127.0.0.1"), "port", str(port))


TUNNELED = Tunneled(_address, _through)
