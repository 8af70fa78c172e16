"""The container files: what they name exists, what they set is a known setting, and what they start runs an export."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner

from fluxport import config
from fluxport.cli import root
from fluxport.config_sources import ALIASES
from fluxport.formats import FORMATS
from fluxport.sinks.local import LocalOptions
from mysql_support import scratch_database
from postgres_support import PostgresDatabase, scratch_postgres
from private_mounts import read_only_except
from service_support import SECRET, Client, emulator, process, service

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
ROWS = 30_000
USERS = {"source": {"query": "SELECT id, name FROM users"}, "format": "xlsx"}
VALUES = {
    "API_SECRET": SECRET,
    "POSTGRES_PASSWORD": "kept-in-postgres",
    "READER_PASSWORD": "read-and-nothing-else",
}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    pairs = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name, rest) for name, rest in pairs]


def of(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def compose() -> dict[str, Any]:
    """compose.yaml with VALUES filled in."""

    def filled(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(":-")
        return default or VALUES[name.partition(":?")[0]]

    found: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{([^}]*)\}", filled, (DEPLOY / "compose.yaml").read_text()))
    return found


def image_environment() -> dict[str, str]:
    return dict(word.split("=", 1) for words in of("ENV") for word in shlex.split(words))


def environment(name: str) -> dict[str, str]:
    """What a container of compose.yaml sees: what the image sets, then what the service does."""
    set_there: dict[str, str] = compose()["services"][name]["environment"]
    return image_environment() | set_there


# -- the image ---------------------------------------------------------------------------------------------------------


def test_what_the_image_copies_is_there_is_let_in_and_is_enough_to_build_the_wheel(tmp_path: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    copied = [path for words in of("COPY") for path in words.split()[:-1]]
    assert ignored[0] == "*"
    assert {f"!{path}" for path in copied} == {line for line in ignored if line.startswith("!")}
    for path in copied:
        source = ROOT / path
        if source.is_dir():
            shutil.copytree(source, tmp_path / path, ignore=shutil.ignore_patterns("node_modules", "static"))
        else:
            (tmp_path / path).parent.mkdir(exist_ok=True)
            shutil.copy(source, tmp_path / path)
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    made = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    names = zipfile.ZipFile(tmp_path / made.stdout.split()[-1]).namelist()
    assert {"fluxport/wiring.py", "fluxport/pages/static/.vite/manifest.json"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "docs/")) or "__pycache__" in name]


@pytest.mark.parametrize("name", ["package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "src/api.ts"])
def test_the_pages_are_rebuilt_when_their_sources_have_changed(tmp_path: Path, name: str) -> None:
    shutil.copytree(ROOT / "web", tmp_path / "web", ignore=shutil.ignore_patterns("node_modules"))
    loaded = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert loaded is not None
    assert loaded.loader is not None
    hook = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(hook)
    assert hook.web_sources_changed(tmp_path), "nothing was built"
    built = tmp_path / hook.MADE_OF
    built.parent.mkdir(parents=True)
    built.write_text(hook.web_sources(tmp_path))
    os.utime(tmp_path / "web" / name, (2e9, 2e9))
    assert not hook.web_sources_changed(tmp_path), "a file was touched, as by a checkout"
    with (tmp_path / "web" / name).open("a") as file:
        file.write("\n")
    assert hook.web_sources_changed(tmp_path)


def test_the_image_has_no_secret_and_does_not_run_as_root() -> None:
    assert of("USER") == ["10001:10001"]
    assert not re.search(r"(?i)secret|password|token", (ROOT / "Dockerfile").read_text())
    assert not any("SECRET" in name or "DSN" in name for name in image_environment())
    assert of("EXPOSE") == ["8080 9090"]
    assert [stage.split(" AS ")[0] for stage in of("FROM")] == ["python:${PYTHON}-slim"] * 2


def test_the_image_takes_from_an_index_only_what_the_lock_names_by_digest() -> None:
    commands = [command for run in of("RUN") for command in run.split("&&") if "pip " in command]
    assert commands
    for command in commands:
        assert "--no-index" in command or "--require-hashes" in command, command


def test_the_image_has_every_extra() -> None:
    """That is what its own command, run here, writes for pip, and what the documentation may offer."""
    import tomllib

    [(command, file)] = [run.split(" > ") for run in of("RUN") if " > " in run]
    assert [run for run in of("RUN") if f"pip install --no-cache-dir --no-index --find-links /wheels -r {file}" in run]
    program = shlex.split(command)
    assert program[0] == "python"
    written = subprocess.run(
        [sys.executable, *program[1:]], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert written == f"fluxport[{','.join(known)}]\n"
    offered = {
        extra for path in (ROOT / "docs").rglob("*.md") for extra in re.findall(r"fluxport\[(\w+)\]", path.read_text())
    }
    assert offered
    assert offered <= set(known)


def test_what_the_image_and_its_containers_start_is_a_command_with_these_options() -> None:
    assert of("ENTRYPOINT") == ['["fluxport"]']
    commands = [json.loads(of("CMD")[0])]
    commands += [compose()["services"][name]["command"] for name in ("service", "worker")]
    for command in commands:
        assert CliRunner().invoke(root, [*command, "--help"]).exit_code == 0, command


def test_the_health_check_passes_on_a_service_that_answers_and_fails_on_none(tmp_path: Path) -> None:
    [check] = [json.loads(words.split("CMD", 1)[1]) for words in of("HEALTHCHECK")]
    with service(tmp_path, "mysql://nobody@127.0.0.1:1/shop", "--no-worker") as client:
        for port, passes in ((client.port, True), (1, False)):
            command = [word.replace(":8080", f":{port}") for word in check[1:]]
            done = subprocess.run([sys.executable, *command], capture_output=True, check=False)
            assert (done.returncode == 0) is passes


def test_it_writes_only_to_its_volume_and_to_the_temporary_folder(tmp_path: Path) -> None:
    """Everything else is read-only, as ``docker run --read-only`` makes it; the user has no home."""
    volume, temporary, rows = (tmp_path / name for name in ("volume", "temporary", "rows.db"))
    with sqlite3.connect(rows) as database:
        database.executescript("CREATE TABLE users (id INTEGER, name TEXT); INSERT INTO users VALUES (1, 'Ada')")
    database.close()
    for folder in (volume, temporary):
        folder.mkdir()
    settings = {name: value.replace("/var/lib/fluxport", str(volume)) for name, value in image_environment().items()}
    settings |= {"TMPDIR": str(temporary), "HOME": "/nonexistent", "FLUXPORT_SERIES__PATH": str(volume / "series.db")}
    settings |= {"API_SECRET": SECRET, "FLUXPORT_SERVER__HOST": "127.0.0.1", "MYSQL_DSN": f"sqlite:///{rows}"}
    words = ["serve", "--port", "0", "--grpc-port", "0"]
    under = partial(read_only_except, [volume, temporary], volume)
    with process(*words, folder=tmp_path, environ=settings, until="worker ready", under=under) as (started, _):
        log = "".join(path.read_text() for path in tmp_path.glob("serve-*.log"))
        found = re.search(r"listening on (\S+)", log)
        assert found
        client = Client(found[1], started.pid)
        for form in FORMATS:
            body = USERS | {"format": form}
            assert client.post("/v1/stream", body).status_code == 200, form
            export_id = client.post("/v1/exports", body).json()["id"]
            while (job := client.get(f"/v1/exports/{export_id}").json())["status"] in ("queued", "running"):
                time.sleep(0.05)
            assert job["status"] == "completed", job
            assert client.plain_get(job["download"]["url"]).status_code == 200
        points = {"points": [{"timestamp_ms": 1_700_000_000_000, "value": 1}]}
        assert client.post("/v1/sensors/boiler/points", points).status_code == 200
        assert client.plain_get("/health/ready").status_code == 200


# -- the composition ---------------------------------------------------------------------------------------------------


def test_the_composition_is_the_service_workers_and_two_databases() -> None:
    found = compose()
    assert set(found["services"]) == {"service", "worker", "postgres", "mariadb"}
    for name in ("service", "worker"):
        entry = found["services"][name]
        assert entry["build"] == {"context": ".."}
        assert entry["read_only"]
        assert entry["tmpfs"] == ["/tmp"]
        assert entry["cap_drop"] == ["ALL"]
        assert set(entry["depends_on"]) == {"postgres", "mariadb"}
    volumes = {mount.split(":")[0] for entry in found["services"].values() for mount in entry["volumes"]}
    assert {name for name in volumes if not name.startswith(".")} == set(found["volumes"])
    assert all((DEPLOY / name).is_dir() for name in volumes if name.startswith("."))


@pytest.mark.parametrize("name", ["service", "worker"])
def test_every_setting_of_a_container_is_known_and_safe_in_production(name: str, tmp_path: Path) -> None:
    variables = environment(name)
    assert all(key in ALIASES or key.startswith("FLUXPORT_") for key in variables if key[:6] != "PYTHON")
    loaded = config.load(environ=variables, folder=tmp_path)
    assert loaded.app_env == "production"
    assert loaded.database == "postgresql://fluxport:kept-in-postgres@postgres:5432/fluxport"
    assert loaded.connections["main"].url.get_secret_value().endswith("@mariadb:3306/shop")
    store = loaded.stores["local"]
    assert isinstance(store, LocalOptions)
    assert f"{store.path}:" not in "".join(compose()["services"][name]["tmpfs"])
    assert f"exports:{store.path}" in compose()["services"][name]["volumes"]


def test_the_grace_ends_before_the_container_is_killed() -> None:
    for name in ("service", "worker"):
        grace_s = config.load(environ=environment(name), folder=Path("/nowhere")).server.grace_s
        assert grace_s < float(compose()["services"][name]["stop_grace_period"].removesuffix("s"))


def test_every_variable_of_the_composition_is_in_the_example() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))
    given = set(re.findall(r"^([A-Z_]+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    assert used == given
    assert not re.search(r"^(?!PUBLIC_URL)[A-Z_]+=.", (DEPLOY / ".env.example").read_text(), re.MULTILINE)


def test_no_password_of_the_database_is_shown(tmp_path: Path) -> None:
    loaded = config.load(environ=environment("service"), folder=tmp_path)
    reported = yaml.safe_dump(config.shown(loaded)) + repr(loaded)
    assert "postgresql://fluxport:***@postgres:5432/fluxport" in reported
    assert not [value for value in VALUES.values() if value in reported]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:a@b:c/d@host/name", "postgresql://ann:***@host/name"),
        (
            "postgres://ann@host/name?password=x&sslmode=require",
            "postgres://ann@host/name?password=***&sslmode=require",
        ),
        ("postgresql:///name?host=/run&password=x", "postgresql:///name?host=/run&password=***"),
        ("sqlite:///fluxport.db", "sqlite:///fluxport.db"),
        ("memory", "memory"),
    ],
)
def test_a_database_url_is_shown_without_its_password(url: str, shown: str, tmp_path: Path) -> None:
    loaded = config.load(environ={"FLUXPORT_DATABASE": url}, folder=tmp_path)
    assert (loaded.database, config.shown(loaded)["database"]) == (url, shown)


def test_a_separate_worker_refuses_a_database_that_cannot_be_shared(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fluxport", "worker"],
        cwd=tmp_path,
        env=os.environ | {"FLUXPORT_DATABASE": "memory", "MYSQL_DSN": "mysql://nobody@127.0.0.1:1/shop"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("fluxport: The database 'memory' cannot be shared")


# -- the databases -----------------------------------------------------------------------------------------------------


@pytest.fixture
def shop() -> Iterator[str]:
    """The MariaDB of the composition: its tables and its account, created as in its container."""
    script = (DEPLOY / "mariadb" / "20-reader.sh").read_text()
    tables = re.sub(r"^--.*\n", "", (DEPLOY / "mariadb" / "10-tables.sql").read_text(), flags=re.MULTILINE)
    with scratch_database() as database:
        name, password = database.name, VALUES["READER_PASSWORD"]
        account = re.sub(r"'fluxport'@'%'", f"'{name}'@'127.0.0.1'", script.split("<<SQL\n")[1].split("\nSQL")[0])
        account = account.replace("${READER_PASSWORD}", password).replace("shop.*", f"{name}.*")
        try:
            for statement in (tables + account).split(";"):
                if statement.strip():
                    database.run(statement)
            yield f"mysql://{name}:{password}@{database.url.rpartition('@')[2]}"
        finally:
            database.run(f"DROP USER IF EXISTS '{name}'@'127.0.0.1'")


def test_the_account_of_the_composition_can_read_and_nothing_else(shop: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fluxport", "check"],
        cwd=tmp_path,
        env=os.environ | {"MYSQL_DSN": shop, "APP_ENV": "production", "API_SECRET": SECRET},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "it can only read." in done.stdout


# -- a run -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresDatabase]:
    with scratch_postgres() as made:
        yield made


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, database: PostgresDatabase) -> Iterator[list[Client]]:
    """Two services and a worker, each in a folder of its own, as the composition starts them; one PostgreSQL."""
    with ExitStack() as stack:
        url = stack.enter_context(emulator(tmp_path_factory.mktemp("emulator"), ROWS))
        store = tmp_path_factory.mktemp("exports")
        moved = {
            "FLUXPORT_DATABASE": database.url,
            "LOCAL_STORAGE_PATH": str(store),
            "FLUXPORT_SERVER__SPOOL__PATH": str(store),  # the volume that both share there
            "FLUXPORT_SERVER__HOST": "127.0.0.1",
            "FLUXPORT_SERVER__PUBLIC_URL": "",
        }
        settings = {key: value for key, value in (environment("service") | moved).items() if value}
        folders = [tmp_path_factory.mktemp("machine") for _ in range(3)]
        worker = compose()["services"]["worker"]["command"]
        stack.enter_context(
            process(*worker, folder=folders[2], environ=settings | {"MYSQL_DSN": url}, until="worker ready")
        )
        del settings["MYSQL_DSN"]
        words = compose()["services"]["service"]["command"][1:]
        yield [stack.enter_context(service(folder, url, *words, **settings)) for folder in folders[:2]]
        for folder in folders:
            assert [p.name for p in folder.iterdir() if p.suffix != ".log"] == [], "nothing is written beside the store"


def test_an_export_requested_on_one_machine_runs_on_another_and_is_fetched_from_a_third(machines: list[Client]) -> None:
    first, second = machines
    export_id = first.post("/v1/exports", USERS).json()["id"]
    while (job := second.get(f"/v1/exports/{export_id}").json())["status"] in ("queued", "running"):
        time.sleep(0.05)
    assert (job["status"], job["rows"]) == ("completed", ROWS)
    answer = second.plain_get(job["download"]["url"])
    assert (answer.status_code, len(answer.content)) == (200, job["bytes"])


def test_a_signature_used_at_one_machine_is_used_at_all(machines: list[Client]) -> None:
    first, second = machines
    headers = first.headers("GET", "/v1/exports")
    answers = [httpx.get(f"{machine.base}/v1/exports", headers=headers) for machine in (first, second)]
    assert [answer.status_code for answer in answers] == [200, 401]
    assert answers[1].json()["code"] == "replayed"


def test_every_machine_reports_the_same_of_exports(machines: list[Client]) -> None:
    def reported(machine: Client) -> list[str]:
        text = machine.plain_get("/metrics").text
        return [line for line in text.splitlines() if line.startswith("export_")]

    assert reported(machines[0]) == reported(machines[1])
    assert f"export_records_processed_total {float(ROWS)}" in reported(machines[0])


def test_every_machine_is_ready(machines: list[Client]) -> None:
    for machine in machines:
        assert machine.plain_get("/health/ready").json()["status"] == "ok"
