"""Apache's WebDAV server over a folder, with one account."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from own_servers import free_port, listening
from services import require_program


@dataclass(frozen=True)
class Webdav:
    folder: Path
    url: str
    user: str = "exports"
    password: str = "a-password-of-the-tests"


@contextlib.contextmanager
def webdav_server(folder: Path) -> Iterator[Webdav]:
    """Runs while entered; what the server calls /dav/ is ``folder``/files."""
    program, port = require_program("apache2", "/usr/sbin/apache2"), free_port()
    files, modules = folder / "files", "/usr/lib/apache2/modules"
    files.mkdir()
    running = Webdav(files, f"http://127.0.0.1:{port}/dav")
    hashing = require_program("htpasswd", "/usr/bin/htpasswd")
    subprocess.run([hashing, "-bc", f"{folder}/users", running.user, running.password], check=True, capture_output=True)
    names = (
        "mpm_event",
        "authn_core",
        "authn_file",
        "authz_core",
        "authz_user",
        "auth_basic",
        "alias",
        "dav",
        "dav_fs",
    )
    lines = [
        *(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in names),
        f"ServerRoot {folder}",
        f"DefaultRuntimeDir {folder}",
        f"PidFile {folder}/pid",
        f"ErrorLog {folder}/error.log",
        "ServerName localhost",
        f"Listen 127.0.0.1:{port}",
        f"DavLockDB {folder}/locks",
        f"Alias /dav {files}",
        f"<Directory {files}>",
        "Dav On",
        "AuthType Basic",
        "AuthName tests",
        f"AuthUserFile {folder}/users",
        "Require valid-user",
        "</Directory>",
    ]
    (folder / "httpd.conf").write_text("\n".join(lines) + "\n")
    with listening([program, "-X", "-f", f"{folder}/httpd.conf"], port, folder):
        yield running
