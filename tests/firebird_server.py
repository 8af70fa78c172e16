"""A Firebird server of its own, with one database."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import firebirdsql

from fluxport.testing.sources import wait_until
from services import unavailable

PASSWORD = "masterkey"


class FirebirdDatabase:
    """``url`` is that of the database, whose owner is SYSDBA."""

    def __init__(self, port: int, file: Path) -> None:
        address: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": port,
            "database": str(file),
            "user": "SYSDBA",
            "password": PASSWORD,
        }
        self.url = f"firebird://SYSDBA:{PASSWORD}@127.0.0.1:{port}/{file}"
        firebirdsql.create_database(**address, page_size=8192, charset="UTF8").close()
        self._connection = firebirdsql.connect(**address, charset="UTF8")
        self._others = "WHERE mon$attachment_id <> CURRENT_CONNECTION AND mon$system_flag = 0"

    def run(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        cursor = self._connection.cursor()
        cursor.execute(statement, params)
        rows = list(cursor.fetchall() or []) if cursor.description else []
        self._connection.commit()
        return rows

    def connections(self) -> int:
        """The number of connections to this database, but for this one."""
        ((count,),) = self.run(f"SELECT COUNT(*) FROM mon$attachments {self._others}")
        return int(count)

    def disconnect_others(self) -> None:
        self.run(f"DELETE FROM mon$attachments {self._others}")

    def close(self) -> None:
        self._connection.close()


@contextmanager
def firebird_database(folder: Path) -> Iterator[FirebirdDatabase]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    programs = [shutil.which(name, path=path) for name in ("firebird", "isql-fb")]
    libraries = sorted(Path("/usr/lib").glob("*/firebird/3.0"))
    if not all(programs) or not libraries:
        unavailable("Firebird 3.0")
    server, isql = (str(program) for program in programs)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = _root(folder, libraries[0], port)
    security = folder / "root" / "security3.fdb"
    script = f"CREATE DATABASE '{security}'; CREATE USER SYSDBA PASSWORD '{PASSWORD}'; COMMIT;"
    subprocess.run([isql, "-q", "-user", "SYSDBA"], input=script.encode(), env=environment, check=True, timeout=60)
    running = subprocess.Popen([server], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: _listens(port))
        database = FirebirdDatabase(port, folder / "rows.fdb")
        try:
            yield database
        finally:
            database.close()
    finally:
        running.kill()  # asked to end, it waits for clients that have left
        running.wait(30)


def _root(folder: Path, libraries: Path, port: int) -> dict[str, str]:
    """The environment of a server whose files are all in ``folder``."""
    root, locks = folder / "root", folder / "locks"
    root.mkdir()
    locks.mkdir()
    for name in ("intl", "plugins", "firebird.msg", "plugins.conf"):
        (root / name).symlink_to((libraries / name).resolve())
    settings = {
        "RemoteServicePort": port,
        "RemoteBindAddress": "127.0.0.1",
        "DatabaseAccess": f"Restrict {folder}",
        "SecurityDatabase": root / "security3.fdb",
    }
    (root / "firebird.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    (root / "databases.conf").touch()
    return {**os.environ, "FIREBIRD": str(root), "FIREBIRD_LOCK": str(locks)}


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
