"""Real HTTP servers between a client and the service, each a private process on a free port."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from own_servers import free_port, listening
from services import require_program


@contextlib.contextmanager
def _running(command: list[str], folder: Path, port: int) -> Iterator[str]:
    """The address of what ``command`` serves at ``port``, once it does."""
    with listening(command, port, folder):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def nginx(folder: Path, upstream: str, *lines: str) -> Iterator[str]:
    """nginx with its defaults, and ``lines`` beside ``proxy_pass``."""
    program, port = require_program("nginx", "/usr/sbin/nginx"), free_port()
    folder.mkdir()
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    more = "".join(f"{line}\n" for line in lines)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; {temporary}\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{\nproxy_pass {upstream};\n{more}}} }} }}\n"
    )
    with _running([program, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"], folder, port) as url:
        yield url


@contextlib.contextmanager
def haproxy(folder: Path, upstream: str) -> Iterator[str]:
    program, port = require_program("haproxy", "/usr/sbin/haproxy"), free_port()
    folder.mkdir()
    (folder / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 60s\n timeout client 60s\n timeout server 60s\n"
        f"listen fluxport\n bind 127.0.0.1:{port}\n server one {upstream.removeprefix('http://')}\n"
    )
    with _running([program, "-db", "-f", f"{folder}/haproxy.cfg"], folder, port) as url:
        yield url


@contextlib.contextmanager
def apache(folder: Path, upstream: str, *lines: str) -> Iterator[str]:
    program, port = require_program("apache2", "/usr/sbin/apache2"), free_port()
    folder.mkdir()
    modules = "/usr/lib/apache2/modules"
    names = ("mpm_event", "authz_core", "proxy", "proxy_http", "env")
    loaded = [f"LoadModule {name}_module {modules}/mod_{name}.so" for name in names]
    rest = [
        f"ServerRoot {folder}",
        f"DefaultRuntimeDir {folder}",
        f"PidFile {folder}/pid",
        f"ErrorLog {folder}/error.log",
        "ServerName localhost",
        f"Listen 127.0.0.1:{port}",
        f"ProxyPass / {upstream}/",
        *lines,
    ]
    (folder / "httpd.conf").write_text("\n".join([*loaded, *rest]) + "\n")
    with _running([program, "-X", "-f", f"{folder}/httpd.conf"], folder, port) as url:
        yield url
