"""Connections to SSH servers whose host keys are known: of the SFTP store, and of the tunnels to databases."""

from __future__ import annotations

import getpass
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fluxport.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paramiko import PKey, SSHClient

CONNECT_TIMEOUT_S = 10.0  # of each of: TCP, the server's greeting, the login


@dataclass(frozen=True)
class SshServer:
    """A server and a login. ``known_hosts`` is a file in OpenSSH's format (default: ~/.ssh/known_hosts); without
    ``password`` and ``key_file`` the keys of ~/.ssh are tried, with ``agent`` also those of the user's agent. ``user``
    None is the user of the process."""

    host: str
    user: str | None
    port: int = 22
    password: str | None = field(default=None, repr=False)
    key_file: Path | None = None
    known_hosts: Path | None = None
    agent: bool = False


def connected(
    server: SshServer,
    *,
    role: str,
    extra: str,
    denied: str,
    unreachable: str,
    timeout_s: float = CONNECT_TIMEOUT_S,
    opened: Callable[[socket.socket], object] = lambda _: None,
) -> SSHClient:
    """A client that is logged in, and that the caller closes. ``role`` names the server in messages, ``extra`` is what
    installs paramiko; ``denied`` and ``unreachable`` are codes of errors, the third one is ``unknown_host``.
    ``timeout_s`` is for each of TCP, the server's greeting and the login; ``opened`` gets the socket before the login,
    which another thread ends by shutting the socket down."""
    try:
        import paramiko
    except ImportError:
        raise Refused(f"An {role} needs its library: pip install 'fluxport[{extra}]'.", code="missing_extra") from None
    user = server.user or getpass.getuser()
    for file in filter(None, (server.key_file, server.known_hosts)):
        if not os.access(file, os.R_OK):
            raise Refused(f"The file {str(file)!r} of the {role} cannot be read; check its path.", code="bad_file")
    # Its errors are in ours: without a handler Python would print them as well.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(_RejectUnknown())
    place = f"{role} {server.host}"
    try:
        client.load_host_keys(str(server.known_hosts)) if server.known_hosts else client.load_system_host_keys()
        connection = socket.create_connection((server.host, server.port), timeout_s)
        opened(connection)
        client.connect(
            server.host,
            server.port,
            user,
            server.password,
            key_filename=server.key_file and str(server.key_file),
            sock=connection,
            timeout=timeout_s,
            banner_timeout=timeout_s,
            auth_timeout=timeout_s,
            allow_agent=server.agent,
            look_for_keys=server.password is None and server.key_file is None,
        )
    except BaseException as error:
        client.close()
        if isinstance(error, paramiko.AuthenticationException):
            raise Refused(f"The {place} rejected the user {user!r}; check the password or key.", code=denied) from error
        if isinstance(error, UnknownHostKey | paramiko.BadHostKeyException | paramiko.ssh_exception.IncompatiblePeer):
            raise Refused(
                f"The key of the {place} is unknown or has changed, or its SSH version is not "
                "supported: add its key to known_hosts.",
                code="unknown_host",
                detail=str(error),
            ) from error
        if isinstance(error, connection_errors()):
            raise Unavailable(
                f"The {place} cannot be reached, or the connection was lost.", code=unreachable, detail=str(error)
            ) from error
        raise
    return client


class UnknownHostKey(Exception):
    """The server's host key is not among the known ones."""


class _RejectUnknown:
    """A policy of paramiko, whose own raises the same exception as a lost connection."""

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
        raise UnknownHostKey(f"{hostname}: {key.get_name()}")


def connection_errors() -> tuple[type[Exception], ...]:
    """What paramiko raises for errors of the server, and for a connection that is lost or not made."""
    from paramiko import SSHException

    return OSError, EOFError, SSHException
