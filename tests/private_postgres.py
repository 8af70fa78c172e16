"""A private PostgreSQL server that asks for passwords and encrypts, and PgBouncer in front of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from mysql_support import wait_until
from own_certificates import make_certificates
from own_servers import free_port, listening
from services import require_program, unavailable

PASSWORD = "sensitive"  # of the superuser "postgres"
DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class PrivatePostgres:
    """``ca`` signed the server's certificate, which is for 127.0.0.1. On the socket nobody needs a password."""

    port: int
    folder: Path
    ca: str

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    @property
    def url_of_socket(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}&port={self.port}"


def program(name: str) -> str:
    """A program of the server, which Debian installs outside of the path."""
    found = sorted(DEBIAN_PROGRAMS.glob(f"*/bin/{name}"))
    return str(found[-1]) if found else require_program(name)


def account() -> dict[str, Any]:
    """Arguments for a process that must not run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def owned(*paths: Path) -> None:
    if os.geteuid() == 0:
        for path in paths:
            shutil.chown(path, "postgres", "postgres")


@contextmanager
def private_postgres() -> Iterator[PrivatePostgres]:
    initdb, postgres = program("initdb"), program("postgres")
    folder = Path(tempfile.mkdtemp(prefix="fluxport-postgres-"))
    try:
        certificates = make_certificates(folder, "127.0.0.1")
        data, key, password = folder / "data", folder / "server.key", folder / "password"
        password.write_text(PASSWORD)
        key.chmod(0o600)
        owned(folder, key, password)
        options = ["--auth-local=trust", "--auth-host=scram-sha-256", "--username=postgres", "--no-sync"]
        made = [initdb, "--pgdata", str(data), f"--pwfile={password}", "--encoding=UTF8", "--locale=C", *options]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **account())
        port = free_port()
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "ssl": "on",
            "ssl_cert_file": folder / "server.pem",
            "ssl_key_file": key,
            "fsync": "off",
            "shared_buffers": "16MB",
        }
        with (data / "postgresql.auto.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        with listening([postgres, "-D", str(data)], port, folder, **account()):
            server = PrivatePostgres(port, folder, certificates.ca_file)
            assert wait_until(lambda: accepts(server.url_of_socket)), "the private PostgreSQL did not start"
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def accepts(url: str) -> bool:
    """Whether the server is past its start, during which it refuses sessions."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def pgbouncer(server: PrivatePostgres) -> Iterator[str]:
    """The URL of a PgBouncer that gives each transaction any of two sessions."""
    bouncer = shutil.which("pgbouncer", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if bouncer is None:
        unavailable("program pgbouncer")
        raise AssertionError
    port = free_port()
    conf = server.folder / "pgbouncer.ini"
    conf.write_text(
        f"[databases]\npostgres = host={server.folder} port={server.port} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\nserver_reset_query =\n"
    )
    owned(conf)
    with listening([bouncer, str(conf)], port, server.folder, **account()):
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
