"""Settings and URLs refer to secrets that are kept elsewhere; what cannot be found is named, and no value ever is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fluxport.cli import root
from fluxport.config import Config, load
from fluxport.errors import Refused
from fluxport.references import FILE_BYTES_MAX, expanded
from mysql_support import scratch_database

NASTY = "p@ss:w/rd?#%[é] ${X}"


def configured(folder: Path, text: str, environ: Mapping[str, str] = {}) -> Config:
    (folder / "fluxport.yaml").write_text(text)
    return load(folder=folder, environ=environ)


def url_of(config: Config) -> str:
    return config.connections["main"].url.get_secret_value()


def test_a_variable_is_percent_encoded_in_a_url_and_only_there(tmp_path: Path) -> None:
    text = "connections: {main: {url: 'mysql://app:${PW}@db/shop'}}\nemail: {host: mail, password: '${PW}'}"
    config = configured(tmp_path, text, {"PW": NASTY})
    assert unquote(urlsplit(url_of(config)).password or "") == NASTY
    assert urlsplit(url_of(config)).hostname == "db"
    assert config.email.password.get_secret_value() == NASTY


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_password_arrives_as_it_is(password: str) -> None:
    url = expanded("postgresql://app:${PW}@db:5432/shop?sslmode=require", {"PW": password})
    assert unquote(urlsplit(url).password or "") == password
    assert urlsplit(url).netloc.endswith("@db:5432")


@pytest.mark.parametrize(
    ("template", "value", "expected"),
    [
        ("${X}", "mysql://u:p%40@h/d", "mysql://u:p%40@h/d"),  # a whole URL
        ("mysql://u:p@${X}/d", "db.example.com:3307", "mysql://u:p@db.example.com:3307/d"),
        ("mysql://u:p@${X}/d", "[::1]:3307", "mysql://u:p@[::1]:3307/d"),
        ("sqlite:///${X}/a.db", "/data/my files", "sqlite:////data/my%20files/a.db"),
        ("postgresql://h/d?password=${X}", "a&b@c/", "postgresql://h/d?password=a%26b%40c%2F"),
        ("u:${X}@tcp(h:3306)/d", "p@ss/%", "u:p@ss/%@tcp(h:3306)/d"),  # the form of Go's driver encodes nothing
        ("$${X} $$ $X ${X}", "v", "${X} $$ $X v"),
        ("a${X}b${X}", "", "ab"),
    ],
)
def test_what_a_reference_becomes(template: str, value: str, expected: str) -> None:
    assert expanded(template, {"X": value}) == expected


def test_a_file_loses_only_the_line_break_at_its_end(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for written, read in (("a b\n", "a b"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("", ""), ("é", "é")):
        secret.write_bytes(written.encode())
        assert expanded(f"${{file:{secret}}}", {}) == read
    secret.write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    for path, why in ((secret, "larger"), (tmp_path, "directory"), (tmp_path / "gone", "No such file")):
        with pytest.raises(Refused, match=why) as refused:
            expanded(f"${{file:{path}}}", {})
        assert refused.value.code == "bad_reference"


@pytest.mark.parametrize("text", ["${", "${}", "${a-b}", "${a", "${file:}", "${1}", "${file:a"])
def test_a_reference_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="A reference is"):
        expanded(text, {"a": "x"})


def test_every_missing_reference_is_a_problem_with_its_setting(tmp_path: Path) -> None:
    text = "connections: {main: {url: 'mysql://app:${DB_PASSWORD}@db/shop'}}\nemail: {password: '${file:/gone}'}"
    with pytest.raises(Refused) as refused:
        configured(tmp_path, text, {"OTHER": "hidden"})
    lines = refused.value.message.splitlines()
    assert any("'connections.main.url'" in line and "DB_PASSWORD" in line for line in lines)
    assert any("'email.password'" in line and "/gone" in line for line in lines)
    assert "hidden" not in refused.value.message


def test_the_sql_of_the_operator_stays_as_it_is(tmp_path: Path) -> None:
    text = """
        connections: {main: {url: 'sqlite:///a.db'}}
        datasets: {d: {query: "SELECT '${X}' AS a", scope: all, columns: {a: text}}}
    """
    assert configured(tmp_path, text, {"X": "1"}).datasets["d"]["query"] == "SELECT '${X}' AS a"


def test_a_variable_of_dotenv_and_one_of_the_environment_are_found(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=from-file\nB=from-file\n")
    text = "email: {host: '${A}', user: '${B}'}"
    config = configured(tmp_path, text, {"B": "from-environment"})
    assert (config.email.host, config.email.user) == ("from-file", "from-environment")


def test_the_command_line_takes_references_and_shows_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scratch_database() as database:
        account = f"{database.name}_refs"
        database.run(f"CREATE USER '{account}'@'%%' IDENTIFIED BY %s", NASTY)
        try:
            server = database.url.rsplit("@", 1)[1].removesuffix(database.name)
            url = f"mysql://{account}:${{PW}}@{server}"
            words = ["export", "SELECT 1 AS a", "--from", url, "--to", str(tmp_path / "a.csv"), "--json"]
            monkeypatch.setenv("PW", NASTY)
            done = CliRunner().invoke(root, words)
            assert done.exit_code == 0, done.exception
            assert json.loads(done.stdout)["rows"] == 1
            monkeypatch.setenv("PW", "wrong and secret")
            failed = CliRunner().invoke(root, words)
            assert failed.exit_code == 1
            assert "wrong and secret" not in failed.output + str(failed.exception)
            monkeypatch.delenv("PW")
            missing = CliRunner().invoke(root, words).exception
            assert isinstance(missing, Refused)
            assert "PW" in missing.message
        finally:
            database.run(f"DROP USER '{account}'@'%'")
    assert "PW" not in os.environ
