"""MySQL through an SSH tunnel: the socket connects to a local port, everything else knows the server by its name."""

from __future__ import annotations

from fluxport.errors import Refused
from fluxport.sources.mysql.dsn import parse_dsn
from fluxport.sources.tunnels import Tunneled, with_option


def _address(url: str) -> tuple[str, int]:
    dsn = parse_dsn(url)
    if dsn.socket is not None:
        raise Refused("A Unix socket is not reached through an SSH tunnel: use host and port.", code="bad_dsn")
    return dsn.host, dsn.port


TUNNELED = Tunneled(_address, lambda url, port: with_option(url, "via-port", str(port)))
