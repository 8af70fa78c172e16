"""Invalid settings of every kind, with every command: a sentence about what is wrong, and never a stack trace, a
location in our code, or a secret.

The commands run in children of one process that has loaded the program, which takes a hundredth of the time.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import fluxport
from postgres_support import scratch_postgres

CANARY = "c4n4ry-0f-4-s3cret"
FAULT = "because of a bug"  # what is said of an error that no part of the program expected

# Each case of standard input becomes a child: {"words", "environ", "folder"} -> {"code", "said"}.
RUNNER = """
import json, os, signal, sys, tempfile
import fluxport.process, fluxport.wiring, fluxport.cli, fluxport.cli.export, fluxport.http.server
import fluxport.jobs.worker, fluxport.sinks.urls
from fluxport.cli import main

for line in sys.stdin:
    case = json.loads(line)
    said = tempfile.TemporaryFile()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        os.chdir(case["folder"])
        os.environ.update(case["environ"])
        sys.argv = ["fluxport", *case["words"]]
        signal.alarm(60)
        try:
            main()
        except SystemExit as ended:
            sys.stdout.flush()
            os._exit(ended.code or 0)
        finally:
            os._exit(99)  # not main's own way out
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said.seek(0)
    print(json.dumps({"code": code, "said": said.read().decode(errors="replace")}), flush=True)
"""


class Runner:
    """Runs commands in a folder with rows, a file that is not a database, and configurations."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = f"sqlite:///{folder}/rows.db"
        with sqlite3.connect(folder / "rows.db") as rows:
            rows.execute("CREATE TABLE t (a)")
        rows.close()
        (folder / "garbage").write_bytes(b"this is no database, " * 500)
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("FLUXPORT_", "API_", "MYSQL_", "AWS_"))}
        environ |= {"MYSQL_DSN": self.rows, "AWS_EC2_METADATA_DISABLED": "true", "GCE_METADATA_HOST": "127.0.0.1:1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", RUNNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True
        )

    def run(self, words: list[str], environ: dict[str, str]) -> tuple[int, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        case = {"words": words, "environ": environ, "folder": str(self.folder)}
        print(json.dumps(case), file=self._process.stdin, flush=True)
        reported: dict[str, Any] = json.loads(self._process.stdout.readline())
        return reported["code"], reported["said"]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    made = Runner(tmp_path_factory.mktemp("broken"))
    yield made
    made.close()


COMMANDS: dict[str, list[str]] = {
    "serve": ["serve", "--port", "0", "--grpc-port", "0"],
    "worker": ["worker"],
    "check": ["check"],
    "config": ["config", "show"],
    "keys create": ["keys", "create", "robot", "--user", "ann", "--scope", "push"],
    "keys list": ["keys", "list"],
    "keys revoke": ["keys", "revoke", "robot"],
    "users add": ["users", "add", "ann", "--password-stdin"],
    "users password": ["users", "password", "ann", "--password-stdin"],
    "users list": ["users", "list"],
    "users remove": ["users", "remove", "ann"],
    "audit": ["audit"],
    "export": ["export", "SELECT 1 AS a", "--from", "main", "--to", "-"],
    "dataset": ["export", "--dataset", "nothing", "--to", "-"],
    "sensor": ["export", "--sensor", "A", "--to", "-"],
}
EVERY = tuple(COMMANDS)
STORED = tuple(name for name in COMMANDS if name in ("serve", "worker", "check", "audit") or " " in name)
TO = {
    scheme: ["export", "SELECT a FROM t", "--from", "{rows}", "--to", f"{scheme}://bucket/a.csv"]
    for scheme in ("az", "oss", "s3", "gs")
}

# What the environment or the file sets, and the commands that cannot do their work with it.
FILES: dict[str, str | bytes | None] = {
    "no file": None,
    "cut off": "connections: {main: [",
    "not text": b"\xff\xfe\x00",
    "no mapping": "- a\n",
    "a section twice": f"auth: {{api_secret: {CANARY}}}\nserver: {{}}\nauth: {{}}\n",
    "a tag of Python": f"a: !!python/object '{CANARY}'\n  b: '{CANARY}'",
    "an alias": f"auth: {{api_secret: *{CANARY}}}",
    "an unknown key": f"connections: {{main: {{urll: 'mysql://u:{CANARY}@h/d'}}}}",
    "a secret that is a mapping": f"connections: {{other: {{url: {{'{CANARY}': 1}}}}}}",
    "a wrong list": f"auth: {{keys: {{a: {{secrets: '{CANARY}'}}}}}}",
    "a wrong number": f"limits: {{rows_max: '{CANARY}'}}",
    "an unknown type": f"stores: {{local: {{type: '{CANARY}'}}}}",
    "a wrong cron": f"schedules: {{a: {{cron: '{CANARY}', user: u, export: {{source: {{query: SELECT 1}}}}}}}}",
}
ENVIRONS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "no YAML": ({"FLUXPORT_CONNECTIONS__OTHER": f"{{url: [{CANARY}"}, EVERY),
    "a section in a value": ({"FLUXPORT_DATABASE__X": CANARY}, EVERY),
    "an address that is none": ({"FLUXPORT_SERVER__PUBLIC_URL": f"http://u:{CANARY}@[x"}, EVERY),
    "a network that is none": ({"FLUXPORT_SERVER__TRUSTED_PROXIES": "[proxy]"}, EVERY),
    "a store without its bucket": ({"STORAGE_TYPE": "s3"}, EVERY),
    "half of a key": ({"OSS_BUCKET": "bucket", "OSS_ENDPOINT": "oss.x", "OSS_ACCESS_KEY_ID": CANARY}, EVERY),
    "an endpoint that is none": (
        {"OSS_BUCKET": "bucket", "OSS_ENDPOINT": "http://[", "OSS_ACCESS_KEY_ID": "a", "OSS_ACCESS_KEY_SECRET": CANARY},
        EVERY,
    ),
    "an endpoint with a key in it": (
        {"STORAGE_TYPE": "s3", "S3_BUCKET": "bucket", "S3_ENDPOINT": f"https://key:{CANARY}@s3.example.com"},
        EVERY,
    ),
    "no key of an account": (
        {
            "STORAGE_TYPE": "azure",
            "AZURE_STORAGE_CONTAINER": "bucket",
            "AZURE_STORAGE_ACCOUNT": "a",
            "AZURE_STORAGE_KEY": CANARY,
        },
        ("serve", "worker", "check"),
    ),
    "a folder that is a file": ({"LOCAL_STORAGE_PATH": "garbage"}, ("serve", "worker", "check")),
    "a folder that cannot be": ({"LOCAL_STORAGE_PATH": "/proc/exports"}, ("serve", "worker", "check")),
    "no file of sensors": ({"FLUXPORT_SERIES__PATH": "garbage"}, ("serve", "worker", "check", "sensor")),
    "a folder for sensors": ({"FLUXPORT_SERIES__PATH": "."}, ("serve", "worker", "check", "sensor")),
    "a host that is none": ({"FLUXPORT_SERVER__HOST": "no.such.host.invalid"}, ("serve",)),
    "an address of others": ({"FLUXPORT_SERVER__HOST": "203.0.113.1"}, ("serve",)),
    "a host of gRPC that is none": ({"FLUXPORT_GRPC__HOST": "no.such.host.invalid"}, ("serve",)),
    "no certificate": (
        {"FLUXPORT_GRPC__TLS_CERTIFICATE": "nothing", "FLUXPORT_GRPC__TLS_KEY": "nothing"},
        ("serve",),
    ),
    "a certificate that is none": (
        {"FLUXPORT_GRPC__TLS_CERTIFICATE": "garbage", "FLUXPORT_GRPC__TLS_KEY": "garbage"},
        ("serve",),
    ),
    "the same for Flight": (
        {
            "FLUXPORT_GRPC__TLS_CERTIFICATE": "garbage",
            "FLUXPORT_GRPC__TLS_KEY": "garbage",
            "FLUXPORT_FLIGHT__PORT": "0",
        },
        ("serve",),
    ),
    "a key id that is none": ({"FLUXPORT_AUTH__KEYS": f'{{"a b": {{secrets: [{CANARY}{CANARY}]}}}}'}, ("serve",)),
    "an empty secret": ({"API_SECRET": " "}, ("serve",)),
    "a weak secret": ({"APP_ENV": "production", "API_SECRET": "devsecret"}, EVERY),
    "NATS without a port": (
        {"FLUXPORT_SERIES__PATH": "s.db", "FLUXPORT_SERIES__NATS__URL": f"nats://u:{CANARY}@127.0.0.1:bad"},
        ("serve",),
    ),
    "MQTT of another scheme": (
        {"FLUXPORT_SERIES__PATH": "s.db", "FLUXPORT_SERIES__MQTT__URL": f"nonsense://u:{CANARY}@127.0.0.1:bad"},
        ("serve",),
    ),
    "an account that is refused": ({"MYSQL_DSN": f"root:{CANARY}@tcp(127.0.0.1:1)/x"}, ("check", "export")),
    "a URL without a port": ({"MYSQL_DSN": f"mysql://root:{CANARY}@127.0.0.1:port/x"}, ("check", "export")),
    "a URL that is none": ({"MYSQL_DSN": f"nonsense:{CANARY}"}, ("check", "export")),
    "PostgreSQL's URL with what it does not know": (
        {"MYSQL_DSN": f"postgresql://root:{CANARY}@127.0.0.1:1/x?nonsense=1"},
        ("check", "export"),
    ),
    "a mail server that is not there": (
        {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": "1", "SMTP_USER": "a@b.c", "SMTP_PASS": CANARY},
        ("check",),
    ),
}
# Files whose parts do not fit together, for the commands that put them together.
APART = {
    "a dataset of nothing": (
        "datasets: {d: {connection: nowhere, query: SELECT 1 AS a, scope: all, columns: {a: integer}}}",
        ("serve", "worker", "dataset"),
    ),
    "a schedule of nothing": (
        "schedules: {a: {cron: '* * * * *', user: u, export: {source: {query: SELECT 1, connection: x}}}}",
        ("serve",),
    ),
    "pushes to no store": ("grpc: {store: nowhere}", ("serve",)),
    "sensors of no connection": ("series: {connection: nowhere}", ("serve", "worker", "check", "sensor")),
    "a connection of the sensors' name": (
        f"{{series: {{path: s.db}}, connections: {{series: {{url: 'mysql://u:{CANARY}@h/d'}}}}}}",
        ("serve", "worker", "check", "sensor"),
    ),
}
DATABASES = {
    "a file that is no database": "sqlite:///garbage",
    "a folder that is not there": "sqlite:///nowhere/fluxport.db",
    "a folder": "sqlite:///.",
    "a file that cannot be": "sqlite:////proc/version",
    "a port that is none": f"postgresql://u:{CANARY}@127.0.0.1:port/x",
    "an address that is none": f"postgresql://u:{CANARY}@[::1/x",
    "a server that is not there": f"postgresql://u:{CANARY}@127.0.0.1:1/x",
    "a host that is not there": f"postgresql://u:{CANARY}@no.such.host.invalid/x",
    "an option that is none": f"postgresql://u:{CANARY}@127.0.0.1:1/x?nonsense=1",
}


# Commands that read no configuration, or are invalid by themselves. TAKEN is a port in use.
UNREADABLE = "\udcff"  # a byte of the command line or the environment that is not UTF-8
HERE = "http://127.0.0.1:TAKEN"
ALONE: dict[str, tuple[list[str], dict[str, str]]] = {
    "emulate, a port of others": (["emulate", "mysql", "--rows", "1", "--port", "TAKEN"], {}),
    "emulate, a host for all": (["emulate", "mysql", "--rows", "1", "--host", "0.0.0.0"], {}),
    "emulate, no host": (["emulate", "mysql", "--rows", "1", "--host", "no.such.host.invalid"], {}),
    "emulate, no name": (["emulate", "mysql", "--rows", "1", "--database", "a b;"], {}),
    "demo, a port of others": (["demo", "--rows", "1", "--port", "TAKEN"], {}),
    "serve, no host": (["serve", "--host", "no.such.host.invalid"], {}),
    "serve, a host of others": (["serve", "--host", "192.0.2.1"], {}),
    "serve, a port of others": (["serve", "--port", "TAKEN", "--grpc-port", "0"], {}),
    "serve, a port of others for gRPC": (["serve", "--port", "0", "--grpc-port", "TAKEN"], {}),
    "serve, a port of others for Flight": (COMMANDS["serve"], {"FLUXPORT_FLIGHT__PORT": "TAKEN"}),
    "serve, one port for two": (
        ["serve", "--port", "0", "--grpc-port", "FREE"],
        {"FLUXPORT_FLIGHT__PORT": "FREE"},
    ),
    "export, a password that is no text": (
        ["export", "SELECT 1", "--from", f"mysql://u:{CANARY}{UNREADABLE}@h/d", "--to", "-"],
        {},
    ),
    "sign, no file": (["sign", "GET", "/x", "@nothing"], {}),
    "sign, a folder": (["sign", "GET", "/x", "@."], {}),
    "sign, no time": (["sign", "GET", "/x", "--timestamp", "soon"], {}),
    "sign, a path of two lines": (["sign", "GET", "/x\ny"], {}),
    "sign, a key of two lines": (["sign", "GET", "/x", "--key-id", f"{CANARY}\n"], {}),
    "sign, no text": (["sign", "GET", "/x"], {"API_SECRET": f"{CANARY}{UNREADABLE}"}),
    "users, no terminal": (["users", "add", "ann"], {}),
    "users, no password": (COMMANDS["users add"], {}),
    "jobs, no address": (["jobs", "list"], {"FLUXPORT_URL": CANARY}),
    "jobs, a broken address": (["jobs", "list"], {"FLUXPORT_URL": f"http://u:{CANARY}@["}),
    "jobs, a password in the address": (["jobs", "list"], {"FLUXPORT_URL": f"http://u:{CANARY}@127.0.0.1:1"}),
    "jobs, a port that is none": (["jobs", "show", "1"], {"FLUXPORT_URL": f"http://127.0.0.1:{CANARY}"}),
    "jobs, another scheme": (["jobs", "cancel", "1"], {"FLUXPORT_URL": f"file:///{CANARY}"}),
    "jobs, no service there": (["jobs", "download", "1"], {"FLUXPORT_URL": "http://127.0.0.1:1", "API_SECRET": CANARY}),
    "jobs, no host": (["jobs", "list"], {"FLUXPORT_URL": "http://no.such.host.invalid", "FLUXPORT_KEY": CANARY}),
    "jobs, a key of two lines": (["jobs", "list"], {"FLUXPORT_URL": HERE, "FLUXPORT_KEY": f"{CANARY}\n"}),
    "jobs, a key that is no text": (["jobs", "list"], {"FLUXPORT_URL": HERE, "FLUXPORT_KEY": f"{CANARY}{UNREADABLE}"}),
    "jobs, the name of a key": (["jobs", "list", "--key-id", "–"], {"FLUXPORT_URL": HERE, "API_SECRET": CANARY}),
    "jobs, an id that is none": (["jobs", "show", f"a b/{UNREADABLE}"], {"FLUXPORT_URL": "http://127.0.0.1:1"}),
}
# Responses of servers other than Fluxport.
STRANGERS = {
    "no HTTP": b"nonsense\r\n\r\n",
    "nothing": b"",
    "text": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "less than it says": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
    "a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "another object": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "an error with a list": b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n[]",
    "an error with text": b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno",
}


def check(code: int, said: str, case: str) -> None:
    assert code in (1, 2), (case, code, said)
    assert said.strip(), case
    for word in (
        "Traceback",
        'File "',
        "site-packages",
        os.path.dirname(os.__file__),
        str(Path(fluxport.__file__).parent),
        CANARY,
        CANARY[:8],
        FAULT,
        "Unknown error",
    ):
        assert word not in said, (case, said)
    ours = [line for line in said.splitlines() if not line.startswith("fluxport: details: ")]
    assert not [line for line in ours if "Errno" in line], (case, said)
    assert len(said.splitlines()) <= 12, (case, said)


@pytest.mark.parametrize("name", FILES)
def test_an_unreadable_configuration_is_one_sentence(runner: Runner, name: str) -> None:
    content = FILES[name]
    path = runner.folder / f"{name}.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for command in EVERY:
        code, said = runner.run([*COMMANDS[command], "--config", path.name], {})
        check(code, said, command)


@pytest.mark.parametrize("name", APART)
def test_contradictory_settings_are_one_sentence(runner: Runner, name: str) -> None:
    content, commands = APART[name]
    path = runner.folder / f"{name}.yaml"
    path.write_text(content)
    for command in commands:
        code, said = runner.run([*COMMANDS[command], "--config", path.name], {})
        check(code, said, command)


@pytest.mark.parametrize("name", ENVIRONS)
def test_an_invalid_setting_is_one_sentence(runner: Runner, name: str) -> None:
    environ, commands = ENVIRONS[name]
    for command in commands:
        code, said = runner.run(COMMANDS[command], environ)
        check(code, said, command)


@pytest.mark.parametrize("name", DATABASES)
def test_an_unusable_database_of_the_service_is_one_sentence(runner: Runner, name: str) -> None:
    for command in STORED:
        code, said = runner.run(COMMANDS[command], {"FLUXPORT_DATABASE": DATABASES[name]})
        check(code, said, command)


@pytest.mark.parametrize(
    ("scheme", "environ"),
    [
        ("az", {}),
        ("az", {"AZURE_STORAGE_ACCOUNT": "Acc ount/x", "AZURE_STORAGE_KEY": CANARY}),
        ("az", {"AZURE_STORAGE_ACCOUNT": "account", "AZURE_STORAGE_KEY": CANARY}),
        ("oss", {}),
        ("oss", {"OSS_REGION": "cn-hangzhou", "OSS_ACCESS_KEY_ID": CANARY}),
        ("oss", {"OSS_ENDPOINT": f"https://{CANARY}:{CANARY}@oss-cn-hangzhou.aliyuncs.com"}),
        ("oss", {"OSS_ENDPOINT": "oss.example.com", "OSS_ACCESS_KEY_ID": "a", "OSS_ACCESS_KEY_SECRET": CANARY}),
        ("s3", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": CANARY, "AWS_ENDPOINT_URL": f"http://x:{CANARY}@["}),
        ("s3", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": CANARY, "AWS_ENDPOINT_URL": f"http://{CANARY}:x"}),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "garbage"}),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "nowhere.json"}),
    ],
)
def test_a_half_configured_store_at_a_url_is_one_sentence(runner: Runner, scheme: str, environ: dict[str, str]) -> None:
    words = [word.replace("{rows}", runner.rows) for word in TO[scheme]]
    code, said = runner.run(words, environ)
    check(code, said, scheme)


@pytest.mark.parametrize("name", ALONE)
def test_an_invalid_command_is_one_sentence(runner: Runner, name: str) -> None:
    words, environ = ALONE[name]
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        ports = {"TAKEN": str(taken.getsockname()[1]), "FREE": str(free.getsockname()[1])}
        free.close()

        def filled(word: str) -> str:
            return functools.reduce(lambda found, port: found.replace(*port), ports.items(), word)

        code, said = runner.run([filled(w) for w in words], {k: filled(v) for k, v in environ.items()})
    check(code, said, name)


@pytest.mark.parametrize("name", STRANGERS)
def test_a_url_of_another_service_is_one_sentence(runner: Runner, name: str) -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(STRANGERS[name])

    for words in (["list"], ["show", "1"], ["cancel", "1"], ["download", "1"]):
        with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
            answered = threads.submit(answer)
            environ = {"FLUXPORT_URL": f"http://127.0.0.1:{listener.getsockname()[1]}", "FLUXPORT_KEY": CANARY}
            code, said = runner.run(["jobs", *words], environ)
            answered.result(60)
        check(code, said, words[0])


def test_a_password_that_cannot_be_typed_is_refused(runner: Runner) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fluxport", *COMMANDS["users add"]],
        input=f"{CANARY} ".encode() + b"\xff",
        cwd=runner.folder,
        env=os.environ | {"FLUXPORT_DATABASE": "sqlite:///users.db"},
        capture_output=True,
        check=False,
    )
    check(done.returncode, done.stderr.decode(), "users add")


def test_an_account_of_postgresql_that_may_not_create_tables(runner: Runner) -> None:
    role = f"fluxport_test_{os.getpid()}"
    with scratch_postgres() as postgres:
        postgres.run(f"CREATE ROLE {role} LOGIN PASSWORD '{CANARY}'")
        try:
            postgres.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            parts = urlsplit(postgres.url)
            account = f"{role}:{CANARY}@{parts.hostname}:{parts.port or 5432}"
            for command in STORED:
                code, said = runner.run(COMMANDS[command], {"FLUXPORT_DATABASE": f"postgresql://{account}{parts.path}"})
                check(code, said, command)
                assert "may not create or change tables" in said
        finally:
            postgres.run(f"DROP ROLE {role}")
