"""The examples and the older clients, each in its runtime, against a stand-in that sends wrong files and the real
service."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell

from examples_support import (
    CONTENT,
    EXAMPLE_PROGRAMS,
    EXAMPLES,
    LIES,
    OLD_PROGRAMS,
    TRUTH,
    VECTORS,
    Program,
    StandIn,
    stand_in,
)
from service_support import Client, emulator, service

ROWS = 20_000
QUERY = "SELECT id, name, email, created_at, score FROM users WHERE name <> 'a/b <&> \"Zoë\"' ORDER BY id"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("build")


@pytest.fixture(scope="module", params=EXAMPLE_PROGRAMS)
def program(request: pytest.FixtureRequest, build: Path) -> Program:
    return EXAMPLE_PROGRAMS[request.param](build)


@pytest.fixture(scope="module", params=OLD_PROGRAMS)
def old_program(request: pytest.FixtureRequest, build: Path) -> Program:
    return OLD_PROGRAMS[request.param](build)


@pytest.fixture(scope="module")
def liar() -> Iterator[StandIn]:
    with stand_in() as server:
        yield server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The real service in front of the emulator."""
    folder = tmp_path_factory.mktemp("service")
    with emulator(folder, ROWS) as url, service(folder, url) as client:
        yield client


def environ(client: Client) -> dict[str, str]:
    return {"FLUXPORT_URL": client.base, "FLUXPORT_SECRET": client.secret, "FLUXPORT_KEY_ID": client.key_id}


def old_environ(client: Client) -> dict[str, str]:
    return {"API_URL": client.base, "API_SECRET": client.secret}


def test_every_client_signs_as_the_vectors_say(program: Program) -> None:
    outcome = program.run("--selftest", str(VECTORS))
    vectors = json.loads(VECTORS.read_text("utf-8"))
    assert outcome.stdout == f"{len(vectors['v1']) + len(vectors['v2'])} signatures agree\n", outcome.stderr


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_wrong_vector_is_named(program: Program, version: str, tmp_path: Path) -> None:
    """The self-test must be able to fail."""
    text = VECTORS.read_text("utf-8")
    vector = json.loads(text)[version][3]
    altered = tmp_path / "vectors.json"
    altered.write_text(text.replace(vector["signature"], vector["signature"].translate({ord("a"): "b"})), "utf-8")
    outcome = program.run("--selftest", str(altered))
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert f"{version} vector" in outcome.stderr
    assert vector["name"] in outcome.stderr


@pytest.mark.parametrize("command", ["stream", "export"])
def test_a_file_arrives_whole_under_its_name(program: Program, liar: StandIn, command: str, tmp_path: Path) -> None:
    liar.requested.clear()
    outcome = program.run(command, "good", "out.csv", folder=tmp_path, environ=liar.environ)
    proof = f"{TRUTH['rows']} rows, {TRUTH['bytes']} bytes, sha256 {TRUTH['sha256']}"
    assert (outcome.stdout, outcome.stderr) == (f"out.csv: {proof}\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_bytes() == CONTENT


@pytest.mark.parametrize("command", ["stream", "export"])
@pytest.mark.parametrize("fault", [fault for fault in LIES if fault != "good"])
def test_a_file_that_cannot_be_verified_is_not_saved(
    program: Program, liar: StandIn, command: str, fault: str, tmp_path: Path
) -> None:
    """Wrong rows, bytes or SHA-256, a truncated body, a failed export: reported, exit 1, and the previous file
    stays."""
    (tmp_path / "out.csv").write_text("yesterday's")
    outcome = program.run(command, fault, "out.csv", folder=tmp_path, environ=liar.environ)
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert outcome.stderr.strip()
    assert "Traceback" not in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "yesterday's"


@pytest.mark.parametrize("command", ["stream", "export"])
def test_a_refusal_is_shown_as_the_service_words_it(
    program: Program, liar: StandIn, command: str, tmp_path: Path
) -> None:
    wrong = liar.environ | {"FLUXPORT_SECRET": "wrong"}
    outcome = program.run(command, "good", "out.csv", folder=tmp_path, environ=wrong)
    assert outcome.returncode == 1
    assert "401" in outcome.stderr
    assert "signature is missing or not valid" in outcome.stderr
    assert not list(tmp_path.iterdir())


def test_an_unreachable_service_is_reported(program: Program, tmp_path: Path) -> None:
    nowhere = {"FLUXPORT_URL": "http://127.0.0.1:9", "FLUXPORT_SECRET": "s"}
    outcome = program.run("stream", "SELECT 1", "out.csv", folder=tmp_path, environ=nowhere)
    assert outcome.returncode == 1
    assert outcome.stderr.strip()
    assert "Traceback" not in outcome.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [(), ("stream", "SELECT 1"), ("delete", "SELECT 1", "out.csv")])
def test_wrong_arguments_show_the_usage(program: Program, arguments: tuple[str, ...], tmp_path: Path) -> None:
    outcome = program.run(*arguments, folder=tmp_path, environ={"FLUXPORT_SECRET": "s"})
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert "stream" in outcome.stderr


@pytest.mark.parametrize("command", ["stream", "export"])
def test_the_real_service_and_the_client_agree(program: Program, running: Client, command: str, tmp_path: Path) -> None:
    outcome = program.run(command, QUERY, "users.csv", folder=tmp_path, environ=environ(running))
    assert re.fullmatch(rf"users\.csv: {ROWS} rows, \d+ bytes, sha256 [0-9a-f]{{64}}\n", outcome.stdout), outcome.stderr
    with (tmp_path / "users.csv").open(newline="", encoding="utf-8") as file:
        assert sum(1 for _ in csv.DictReader(file)) == ROWS


def test_the_real_service_gives_a_workbook_too(program: Program, running: Client, tmp_path: Path) -> None:
    outcome = program.run("stream", QUERY, "users.xlsx", folder=tmp_path, environ=environ(running))
    assert outcome.stdout.startswith(f"users.xlsx: {ROWS} rows"), outcome.stderr
    assert (tmp_path / "users.xlsx").read_bytes().startswith(b"PK\x03\x04")


def test_the_real_services_refusal_reaches_the_user(program: Program, running: Client, tmp_path: Path) -> None:
    outcome = program.run("stream", "DELETE FROM users", "users.csv", folder=tmp_path, environ=environ(running))
    assert outcome.returncode == 1
    assert "400" in outcome.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["", "json", "excel"])
def test_old_clients_work_unchanged(old_program: Program, running: Client, format: str) -> None:
    """They sign by v1, send the body as their language serializes it, poll without a signature, read the status
    word."""
    arguments = [QUERY, format] if format else [QUERY]
    outcome = old_program.run(*arguments, environ=old_environ(running))
    assert outcome.returncode == 0, outcome.stderr
    words = dict(line.split(" ", 1) for line in io.StringIO(outcome.stdout.strip()))
    reported = running.finished(words["job"].strip())
    assert (words["status"], reported["status"], reported["rows"]) == ("COMPLETED", "COMPLETED", ROWS)
    assert reported["filename"].endswith({"": ".csv", "json": ".json", "excel": ".xlsx"}[format])


def test_older_clients_get_an_error_with_its_reason(old_program: Program, running: Client) -> None:
    right = old_environ(running)
    assert "401" in old_program.run("SELECT 1", environ=right | {"API_SECRET": "wrong"}).stderr
    assert "400" in old_program.run("DROP TABLE users", environ=right).stderr


def test_the_powershell_examples_parse() -> None:
    """PowerShell is not installable from a registry; a grammar must parse the scripts without errors."""
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    scripts = sorted((EXAMPLES / "powershell").glob("*.ps1"))
    assert [script.name for script in scripts] == [
        "Export-Fluxport.ps1",
        "Sign-Request.ps1",
        "Signing.ps1",
        "Start-Demo.ps1",
    ]
    for script in scripts:
        assert not parser.parse(script.read_bytes()).root_node.has_error, script.name
