"""SFTP servers over a folder, each with its own key and known_hosts file: asyncssh, which like OpenSSH has no digests,
and ProFTPD, which has."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from own_servers import free_port, listening
from services import require_program


@dataclass(frozen=True)
class Sftp:
    folder: Path
    port: int
    known_hosts: Path
    host: str = "127.0.0.1"
    user: str = "exports"
    password: str = "a-password-of-the-tests"


class Server(asyncssh.SSHServer):
    """Admits the user and the password of Sftp."""

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        right = Sftp.password
        return username == Sftp.user and secrets.compare_digest(password, right)


@contextlib.contextmanager
def ssh_server(known_hosts: Path, server: Callable[[], asyncssh.SSHServer], **options: Any) -> Iterator[int]:
    """The port of a server of asyncssh, which runs while entered; its key is written to ``known_hosts``."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    loop = asyncio.new_event_loop()

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(server, "127.0.0.1", 0, server_host_keys=[key], acceptor=noted, **options)

    made: list[asyncssh.SSHServerConnection] = []

    def noted(connection: asyncssh.SSHServerConnection) -> None:
        made.append(connection)

    acceptor = loop.run_until_complete(start())
    port = acceptor.get_port()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    known_hosts.write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
    try:
        yield port
    finally:

        async def stop() -> None:
            acceptor.close()
            await acceptor.wait_closed()
            for connection in made:
                connection.abort()
            # Until every socket but the loop's own is closed: what is left would be a warning of some later test.
            while len(asyncio.all_tasks()) > 1 or len(loop._selector.get_map()) > 1:  # type: ignore[attr-defined]  # no public one
                await asyncio.sleep(0.01)

        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def sftp_server(folder: Path) -> Iterator[Sftp]:
    """Runs while entered; what the server calls / is ``folder``/files."""
    files = folder / "files"
    files.mkdir()
    known = folder / "known_hosts"

    def chrooted(channel: Any) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(files).encode())

    with ssh_server(known, Server, sftp_factory=chrooted, allow_scp=False) as port:
        yield Sftp(files, port, known)


_PROFTPD = """
LoadModule mod_sftp.c
ServerType standalone
DefaultAddress 127.0.0.1
Port {port}
UseIPv6 off
AuthOrder mod_auth_file.c
AuthUserFile {folder}/passwd
RequireValidShell off
RootLogin on
ScoreboardFile none
PidFile {folder}/pid
DelayEngine off
WtmpLog off
TransferLog none
SystemLog {folder}/log
DefaultRoot ~
AllowOverwrite on
SFTPEngine on
SFTPHostKey {folder}/key
SFTPLog {folder}/sftp.log
SFTPExtensions +checkFile
"""


@contextlib.contextmanager
def proftpd_server(folder: Path) -> Iterator[Sftp]:
    """Runs while entered; what the server calls / is ``folder``/files."""
    program = require_program("proftpd")
    files = folder / "files"
    files.mkdir()
    key = asyncssh.generate_private_key("ssh-rsa")
    key.write_private_key(folder / "key", "pkcs1-pem")
    port = free_port()
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", Sftp.password], check=True, capture_output=True, text=True
    ).stdout.strip()
    (folder / "passwd").write_text(f"{Sftp.user}:{hashed}:{os.getuid()}:{os.getgid()}::{files}:/bin/sh\n")
    for name in ("key", "passwd"):
        (folder / name).chmod(0o600)
    (folder / "conf").write_text(_PROFTPD.format(port=port, folder=folder))
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
    with listening([program, "-n", "-c", str(folder / "conf")], port):
        yield Sftp(files, port, known)
