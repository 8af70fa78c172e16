"""The command line completes a login as MySQL's own clients do, and asks for a password where one is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import pytest
from click.testing import CliRunner, Result

import fluxport
from fluxport.cli import root
from fluxport.cli.login import Login, client_options, lacks_password
from fluxport.errors import QueryFailed, Refused
from mysql_support import scratch_database

PASSWORD = "p@ss#w/rd'%"

OPTIONS = """
# the login of exports
[mysql]
user = not_this
[client]
user=app
  password = "with # and ; inside"   # a comment
host = 'db.example'
port=3307
ssl_ca = C:\\\\certs\\sca.pem
loose-ssl-mode=REQUIRED
quick
!includedir /nowhere
[client-mariadb]
host=other
"""


@contextmanager
def mariadb_account() -> Iterator[tuple[str, str]]:
    """Name and address of an account with PASSWORD."""
    with scratch_database() as database:
        name = f"{database.name}_login"
        database.run(f"CREATE USER '{name}'@'%%' IDENTIFIED BY %s", PASSWORD)
        try:
            yield name, database.url.rsplit("@", 1)[1].removesuffix(database.name)
        finally:
            database.run(f"DROP USER '{name}'@'%'")


def write(home: Path, text: str) -> None:
    (home / ".my.cnf").write_text(text)
    (home / ".my.cnf").chmod(0o600)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MYSQL_PWD", raising=False)
    return tmp_path


def export(url: str) -> Result:
    return CliRunner().invoke(root, ["export", "SELECT 1 AS a", "--from", url, "--to", os.devnull, "-q"])


def test_options_are_read_as_mysqls_clients_read_them(home: Path) -> None:
    write(home, OPTIONS)
    ours = client_options(home / ".my.cnf")
    assert ours == {
        "user": "app",
        "password": "with # and ; inside",
        "host": "other",
        "port": "3307",
        "ssl-ca": "C:\\certs ca.pem",
        "ssl-mode": "REQUIRED",
    }
    program = which("my_print_defaults")
    if program is None:
        pytest.skip("my_print_defaults is not installed")
    write(home, OPTIONS.replace("!includedir /nowhere", ""))
    words = [program, f"--defaults-file={home}/.my.cnf", "client", "client-mariadb"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    theirs = dict(line.removeprefix("--").removeprefix("loose-").split("=", 1) for line in lines if "=" in line)
    assert {name.replace("_", "-"): value for name, value in theirs.items()} == ours


def test_a_url_is_completed_from_the_file_of_the_home_folder(home: Path) -> None:
    with mariadb_account() as (name, address):
        host, _, port = address.strip("/").partition(":")
        write(home, f'[client]\nuser={name}\npassword="{PASSWORD}"\nhost={host}\nport={port or 3306}\n')
        for url in ("mysql:///", f"mysql://{address}", f"mysql://{name}@{address}", f"mysql://{name}@"):
            done = export(url)
            assert done.exit_code == 0, (url, done.exception)
        other = export(f"mysql://{name}_other@{address}").exception
        assert isinstance(other, QueryFailed)  # the password in the file is another user's
        assert other.code == "login_refused"
        assert export(f"mysql://{name}:wrong@{address}").exit_code == 1


@pytest.mark.parametrize(
    "url",
    [
        *(
            "mysql://",
            "mysql:///d",
            "mysql://h",
            "mysql://h:1/d?ssl-mode=required",
            "mysql://u:@h/d",
            "mysql://u:p@h/d",
        ),
        *(
            "u@tcp(h:3306)/d",
            "postgresql://u@h/d",
            "sqlite:///a.db",
            "mysql://h:x/d",
            "mysql://[::1]/d",
            "mysql://u@h/d#x",
        ),
    ],
)
def test_without_a_file_and_a_variable_a_url_stays_as_it_is(home: Path, url: str) -> None:
    assert Login().completed(url) == url


@pytest.mark.parametrize(
    ("url", "completed"),
    [
        ("mysql:///d", "mysql://a%40b:p%2F@db:3307/d?ssl-mode=required"),
        ("mysql://h/d", "mysql://a%40b:p%2F@h/d?ssl-mode=required"),
        ("mysql://u@h/d?ssl_mode=disabled", "mysql://u@h/d?ssl_mode=disabled"),
        ("mysql:///d?socket=/s", "mysql://a%40b:p%2F@/d?socket=/s&ssl-mode=required"),
    ],
)
def test_a_url_gets_what_it_leaves_out(home: Path, url: str, completed: str) -> None:
    write(home, "[client]\nuser=a@b\npassword=p/\nhost=db\nport=3307\nsocket=/other\nssl-mode=required\n")
    assert Login().completed(url) == completed


def test_a_password_of_the_environment_counts_if_the_file_has_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mariadb_account() as (name, address):
        monkeypatch.setenv("MYSQL_PWD", PASSWORD)
        assert export(f"mysql://{name}@{address}").exit_code == 0
        write(home, "[client]\npassword=wrong\n")
        assert export(f"mysql://{name}@{address}").exit_code == 1


def test_programs_and_connections_of_the_configuration_read_neither(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mariadb_account() as (name, address):
        monkeypatch.setenv("MYSQL_PWD", PASSWORD)
        write(home, f'[client]\nuser={name}\npassword="{PASSWORD}"\n')
        with pytest.raises(QueryFailed):
            fluxport.export("SELECT 1", source=f"mysql://{name}@{address}", to=home / "a.csv")
        (home / "c.yaml").write_text(f"connections: {{main: {{url: 'mysql://{name}@{address}'}}}}")
        words = ["tables", "--from", "main", "--config", str(home / "c.yaml"), "--json"]
        assert isinstance(CliRunner().invoke(root, words).exception, QueryFailed)


def test_a_file_that_everyone_may_write_is_refused(home: Path) -> None:
    write(home, "[client]\nuser=a\n")
    (home / ".my.cnf").chmod(0o602)
    with pytest.raises(Refused, match="chmod 600"):
        client_options(home / ".my.cnf")
    write(home, "user=a\n")
    with pytest.raises(Refused, match="no option file"):
        client_options(home / ".my.cnf")


@pytest.mark.parametrize(
    ("url", "lacks"),
    [
        ("mysql://u@h/d", True),
        ("postgresql://u@h/d", True),
        ("u@tcp(h)/d", True),
        ("mysql://u:@h/d", False),
        ("mysql://u:p@h/d", False),
        ("mysql://h/d", False),
        ("u:p@tcp(h)/d", False),
        ("sqlite:///a.db", False),
    ],
)
def test_which_urls_lack_a_password(url: str, lacks: bool) -> None:
    assert lacks_password(url) == lacks


def terminal(words: list[str], typed: str, environ: dict[str, str]) -> tuple[int, str]:
    """Exit code and output of a command on a terminal of its own, where ``typed`` is entered at its question."""
    process, controller = os.forkpty()
    if process == 0:
        os.execve(sys.executable, [sys.executable, "-m", "fluxport", *words], environ)
    output = b""
    asked = False
    while True:
        try:
            data = os.read(controller, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not data:
            break
        output += data
        if not asked and b"Password: " in output:
            asked = True
            os.write(controller, f"{typed}\n".encode())
    os.close(controller)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), output.decode()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_missing_password_is_asked_for_once_on_a_terminal(home: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "MYSQL_PWD"}
    with mariadb_account() as (name, address):
        for words in (
            ["export", "SELECT 1 AS a", "--to", str(home / "a.csv")],
            ["preview", "SELECT 1 AS a"],
            ["export", "SELECT 1 AS a", "--to", str(home / "b.csv"), "--dry-run"],
        ):
            asked = [*words, "--from", f"mysql://{name}@{address}"]
            code, output = terminal(asked, PASSWORD, environ)
            assert (code, output.count("Password: ")) == (0, 1), output
            assert PASSWORD not in output
        code, output = terminal(asked, "wrong", environ)
        assert (code, output.count("Password: ")) == (1, 1)
        code, output = terminal([*asked, "--json"], PASSWORD, environ)
        assert (code, output.count("Password: ")) == (1, 0)
        assert "refused the login" in output
    assert (home / "a.csv").read_text() == "a\n1\n"
