"""Clients and proxies of HTTP/1.0, and PHP, which take a broken response without a length for a complete one: they
get the whole file or an error, never a part with success. The programs are the real ones."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from fault_proxy import FaultProxy
from mysql_support import scratch_database, wait_until
from proxies import apache, haproxy, nginx
from service_support import Client, service
from services import require_program

ROWS = 80_000
BREAKS_AFTER = 800_000
ALL = "SELECT timestamp_ms AS n, CONCAT('some text to fill the row ', value) AS v FROM points"
FORMATS = ("csv", "xlsx", "parquet")


@dataclass(frozen=True)
class Request:
    """One request."""

    method: str
    target: str
    body: bytes = b""
    signed: bool = True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blind")


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    """The same database directly, and over a connection that ends half-way."""
    with scratch_database() as database:
        database.run("CREATE TABLE points (sensor_id VARCHAR(20), timestamp_ms BIGINT, value DOUBLE, quality SMALLINT)")
        database.run(f"INSERT INTO points SELECT 'a', seq * 1000, seq / 3, 1 FROM seq_1_to_{ROWS}")
        database.run("ALTER TABLE points ADD PRIMARY KEY (sensor_id, timestamp_ms)")
        with FaultProxy(database.url, "fin", BREAKS_AFTER) as broken:
            yield {"sound": database.url, "broken": broken.url}


def settings(urls: dict[str, str], points: str) -> dict[str, Any]:
    columns = {"n": "integer", "v": "text"}
    declared = {"scope": "all", "query": f"{ALL} WHERE {{filters}}", "order": "n", "columns": columns}
    return {
        "connections": {name: {"url": url, "queries_max": 20} for name, url in urls.items()},
        "datasets": {name: declared | {"connection": name} for name in urls},
        "series": {"connection": points, "open": "off"},
    }


@contextmanager
def running(folder: Path, urls: dict[str, str], points: str, **environ: str) -> Iterator[Client]:
    folder.mkdir(exist_ok=True)
    (folder / "fluxport.yaml").write_text(yaml.safe_dump(settings(urls, points)))
    with service(folder, "", **environ) as client:
        yield client


@pytest.fixture(scope="module")
def client(folder: Path, urls: dict[str, str]) -> Iterator[Client]:
    with running(folder, urls, "broken") as made:
        yield made


@pytest.fixture(scope="module")
def zip_target(client: Client, folder: Path) -> str:
    """The link to a stored export of several files, one of which is now shorter than it was."""
    target, parts = stored_parts(client, folder)
    with parts[1].open("r+b") as file:
        file.truncate(1000)
    return target


def stored_parts(client: Client, folder: Path) -> tuple[str, list[Path]]:
    body = {"source": {"query": ALL, "connection": "sound"}, "options": {"max_rows_per_file": 20_000}}
    export_id = client.post("/v1/exports", body).json()["id"]
    assert wait_until(lambda: client.get(f"/v1/exports/{export_id}").json()["status"] == "completed", 60)
    link = client.post(f"/v1/exports/{export_id}/links", {}).json()["url"]
    return link.removeprefix(client.base), sorted((folder / "exports").rglob("*.csv"))


def requests_of(connection: str, name: str, zip_target: str) -> dict[str, Request]:
    """One request of every kind whose response has no length."""
    body = json.dumps({"source": {"query": ALL, "connection": connection}, "format": name}).encode()
    found = {"stream": Request("POST", "/v1/stream", body)}
    if name in ("csv", "xlsx"):
        found["queue"] = Request("GET", f"/api/exports/stream?type={connection}&format={name}")
    range_of_sensor = f"sensor_id=a&start_ts=0&end_ts={ROWS * 1000}"
    found["sensor"] = Request("GET", f"/api/v1/export?{range_of_sensor}&format={name}")
    if name == "csv":
        found["zip"] = Request("GET", zip_target, signed=False)
    return found


# -- clients: whether one took what it got for a success, and the bytes ------------------------------------------------

Got = tuple[bool, bytes]


def headers(client: Client, wanted: Request) -> dict[str, str]:
    return client.headers(wanted.method, wanted.target, wanted.body) if wanted.signed else {}


def curl(version: str) -> Callable[[Client, str, Request, Path], Got]:
    def ask(client: Client, base: str, wanted: Request, folder: Path) -> Got:
        out = folder / "out"
        lines = [word for name, value in headers(client, wanted).items() for word in ("-H", f"{name}: {value}")]
        sent = ["--data-binary", "@-"] if wanted.body else []
        command = ["curl", "-s", "-f", f"--http{version}", "-X", wanted.method, "-o", str(out), *lines, *sent]
        done = subprocess.run([*command, base + wanted.target], input=wanted.body, timeout=120, check=False)
        return done.returncode == 0, out.read_bytes() if out.exists() else b""

    return ask


# Behind a proxy it has to say itself that it does not see the break of an answer.
PHP = """
[$url, $method, $body, $lines, $version, $out] = array_slice($argv, 1);
$http = ['method' => $method, 'header' => $lines, 'timeout' => 120];
if ($body !== '') $http['content'] = $body;
if ($version !== '') $http['protocol_version'] = $version;
$found = @file_get_contents($url, false, stream_context_create(['http' => $http]));
if ($found !== false) file_put_contents($out, $found);
exit($found === false ? 1 : 0);
"""


def php(version: str) -> Callable[[Client, str, Request, Path], Got]:
    def ask(client: Client, base: str, wanted: Request, folder: Path) -> Got:
        out = folder / "out"
        reported = {} if base == client.base else {"Via": "1.0 php"}
        lines = "\r\n".join(f"{name}: {value}" for name, value in (headers(client, wanted) | reported).items())
        words = [base + wanted.target, wanted.method, wanted.body.decode(), lines, version, str(out)]
        done = subprocess.run([require_program("php"), "-r", PHP, "--", *words], timeout=120, check=False)
        return done.returncode == 0, out.read_bytes() if out.exists() else b""

    return ask


def ab(client: Client, base: str, wanted: Request, folder: Path) -> Got:
    lines = [word for name, value in headers(client, wanted).items() for word in ("-H", f"{name}: {value}")]
    sent = []
    if wanted.body:
        (folder / "body").write_bytes(wanted.body)
        sent = ["-p", str(folder / "body"), "-T", "application/json"]
    command = [require_program("ab"), "-n", "1", "-s", "120", *lines, *sent, base + wanted.target]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    success = done.returncode == 0 and b"Complete requests:      1" in done.stdout and b"Non-2xx" not in done.stdout
    return success, done.stdout


CLIENTS = {"curl 1.0": curl("1.0"), "curl": curl("1.1"), "ab": ab, "php 1.0": php("1.0"), "php": php("")}


# -- proxies -----------------------------------------------------------------------------------------------------------

# As in docs/guide/service.md.
VIA = 'proxy_set_header Via "$http_via, $server_protocol nginx";'
NGINX = ("proxy_http_version 1.1;", VIA, "proxy_buffering off;")
APACHE = ("ProxyVia On",)
PROXIES: dict[str, Callable[[Path, str], AbstractContextManager[str]]] = {
    "direct": lambda folder, upstream: nullcontext(upstream),
    "nginx with its defaults": nginx,
    "nginx as documented": lambda folder, upstream: nginx(folder, upstream, *NGINX),
    "HAProxy": haproxy,
    "Apache as documented": lambda folder, upstream: apache(folder, upstream, *APACHE),
    "Apache over HTTP/1.0": lambda folder, upstream: apache(folder, upstream, "SetEnv force-proxy-request-1.0 1"),
}


@pytest.fixture(scope="module", params=PROXIES)
def base(request: pytest.FixtureRequest, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with PROXIES[request.param](tmp_path_factory.mktemp("proxy") / "run", client.base) as url:
        yield url


@pytest.fixture(scope="module")
def sound(
    urls: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Client, dict[str, Request], dict[str, bytes]]]:
    """A service without faults, requests to it, and the files that it returns."""
    folder = tmp_path_factory.mktemp("sound")
    with running(folder, urls, "sound") as made:
        wanted = requests_of("sound", "csv", stored_parts(made, folder)[0])
        files = {}
        for what, one in wanted.items():
            success, files[what] = curl("1.1")(made, made.base, one, folder)
            assert success
        assert len(files["stream"].splitlines()) == len(files["sensor"].splitlines()) == ROWS + 1
        yield made, wanted, files


@pytest.fixture(scope="module", params=PROXIES)
def proxied(
    request: pytest.FixtureRequest, sound: tuple[Client, object, object], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with PROXIES[request.param](tmp_path_factory.mktemp("proxy") / "run", sound[0].base) as url:
        yield url


@pytest.mark.parametrize("kind", CLIENTS)
def test_half_a_file_is_never_a_success(client: Client, base: str, zip_target: str, kind: str, tmp_path: Path) -> None:
    for name in FORMATS:
        for what, wanted in requests_of("broken", name, zip_target).items():
            success, data = CLIENTS[kind](client, base, wanted, tmp_path)
            assert not success, (what, name, len(data))


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_whole_file_is_one(
    sound: tuple[Client, dict[str, Request], dict[str, bytes]], proxied: str, kind: str, tmp_path: Path
) -> None:
    client, wanted, files = sound
    for what, one in wanted.items():
        success, data = CLIENTS[kind](client, proxied, one, tmp_path)
        assert success, what
        if kind == "ab":
            assert f"Document Length:        {len(files[what])} bytes".encode() in data, (what, data)
        else:
            assert data == files[what], what
