"""Every command that needs the service's own database reports in one sentence what is wrong with it, and exits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from postgres_support import scratch_postgres

PASSWORD = "do-not-show-this"
COMMANDS = ["serve --port 0", "worker", "keys list", "users list", "audit"]
SENTENCES = {
    "no such database": "does not exist; create it",
    "no such user": "refused the login; check its user and password",
    "nothing listens": "cannot be reached; start it, or correct the setting",
    "no such host": "cannot be reached; start it, or correct the setting",
    "no connection left": "lacks connections, memory or disk; retry",
    "no right to create tables": "may not create or change tables there; grant it",
    "no such folder": "does not exist; create it",
    "a folder": "names a folder; name a file",
    "no database file": "is not an SQLite database; name another",
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """URLs by what is wrong with them."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "note.txt").write_text("This is no database at all, whatever its name may say.")
    with scratch_postgres() as postgres:
        role = f"{postgres.name}_reader"
        host = urlsplit(postgres.url).netloc.rpartition("@")[2]
        postgres.run(f"CREATE ROLE {role} LOGIN")
        postgres.run(f"CREATE ROLE {role}_full LOGIN CONNECTION LIMIT 0")
        postgres.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")

        def changed(user: str, address: str = host, path: str = f"/{postgres.name}") -> str:
            return urlsplit(postgres.url)._replace(netloc=f"{user}:{PASSWORD}@{address}", path=path).geturl()

        try:
            yield {
                "no such database": changed("postgres", path="/no_such_database"),
                "no such user": changed("no_such_user"),
                "nothing listens": changed("postgres", "127.0.0.1:1"),
                "no such host": changed("postgres", "no-such-host.invalid"),
                "no connection left": changed(f"{role}_full"),
                "no right to create tables": changed(role),
                "no such folder": f"sqlite:///{folder}/nowhere/fluxport.db",
                "a folder": f"sqlite:///{folder}",
                "no database file": f"sqlite:///{folder}/note.txt",
            }
        finally:
            postgres.run(f"DROP ROLE {role}, {role}_full")


def reported(command: str, url: str, folder: Path) -> list[str]:
    """The command's output except its log; it must exit with 1."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FLUXPORT_", "MYSQL_"))}
    done = subprocess.run(
        [sys.executable, "-m", "fluxport", *command.split()],
        cwd=folder,
        env=environ | {"FLUXPORT_DATABASE": url, "MYSQL_DSN": "mysql://nobody@127.0.0.1:1/app"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert PASSWORD not in said
    return [line for line in said.splitlines() if not line.startswith("{")]


@pytest.mark.parametrize("what", SENTENCES)
def test_a_worker_reports_what_is_wrong_with_its_database(broken: dict[str, str], what: str, tmp_path: Path) -> None:
    first, *more = reported("worker", broken[what], tmp_path)
    assert SENTENCES[what] in first
    assert all(line.startswith("fluxport: details: ") for line in more)
    assert len(more) <= 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reports_it(broken: dict[str, str], command: str, tmp_path: Path) -> None:
    for what in ("no such database", "no database file"):
        assert SENTENCES[what] in reported(command, broken[what], tmp_path)[0]
