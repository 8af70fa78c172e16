"""A one-time link, and a token of the Export queue, opens its file to one client: of any number at once, at two
services that share a database. That client may go on; everyone else gets 410 from the first byte on."""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import psycopg
import pytest

from fluxport.testing.sources import wait_until
from identity_support import DATABASES, database_url
from journal_service import calling_as, finished_job, journal_settings, queued_job
from postgres_support import scratch_postgres
from service_support import Client, service

TRADES = 60_000  # some 6 MB: more than a connection buffers
CLIENTS = 50
SESSION = "X-Download-Session"
# In PostgreSQL: who waits for a lock of the links, and how the last download ended.
WAITING = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'used_links'::regclass"
LAST_ENDED = "SELECT outcome, detail->>'sent_bytes' FROM audit WHERE action = 'download' ORDER BY id DESC LIMIT 1"


@dataclass
class Deployment:
    """Two services over one database, of which the first has a worker, and the folder of the files."""

    services: tuple[Client, Client]
    files: Path

    def link(self, export_id: str) -> str:
        made = self.services[0].post(f"/v1/exports/{export_id}/links", {"one_time": True})
        assert made.status_code == 201, made.text
        return str(made.json()["url"]).removeprefix(self.services[0].base)


@pytest.fixture(scope="module", params=DATABASES)
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("services")
    with ExitStack() as stack:
        url = stack.enter_context(database_url(request.param, folder))
        journal_settings(folder, TRADES)
        both = [
            calling_as(stack.enter_context(service(folder, "", *words, FLUXPORT_DATABASE=url)), "ann")
            for words in ((), ("--no-worker",))
        ]
        yield Deployment((both[0], both[1]), folder / "exports")


@dataclass
class Kind:
    """A kind of one-time address: what makes one for a file of so many trades, and how a client asks for it."""

    queue: bool

    def make(self, deployment: Deployment, rows: int) -> str:
        ann = deployment.services[0]
        job = finished_job(ann, queued_job(ann, {"type": "trades", "params": {"limit": rows}})["id"])
        if self.queue:
            return f"/api/exports/jobs/{job['id']}/download?token={job['downloadToken']}"
        return deployment.link(job["id"])

    def headers(self, client: Client, target: str, method: str = "GET") -> dict[str, str]:
        return client.headers(method, target) if self.queue else {}

    def get(self, client: Client, target: str, headers: dict[str, str] | None = None) -> httpx.Response:
        every = self.headers(client, target) | (headers or {})
        return httpx.get(client.base + target, headers=every, timeout=60)

    def is_used(self, answer: httpx.Response) -> bool:
        used = "TOKEN_USED" if self.queue else "link_used"
        error = answer.json()["error"] if self.queue else answer.json()
        return (answer.status_code, error["code"]) == (410, used)


@pytest.fixture(params=[False, True], ids=["link", "token of the Export queue"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(request.param)


@pytest.mark.parametrize("rows", [1, TRADES], ids=["a tiny file", "a large file"])
def test_of_fifty_clients_at_once_one_gets_the_file(deployment: Deployment, kind: Kind, rows: int) -> None:
    target = kind.make(deployment, rows)
    together = Barrier(CLIENTS)

    def asks(number: int) -> httpx.Response:
        client = deployment.services[number % 2]
        headers = kind.headers(client, target)
        with httpx.Client(base_url=client.base, timeout=60) as http:
            together.wait()
            return http.get(target, headers=headers)

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(asks, range(CLIENTS)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 410: CLIENTS - 1}
    assert all(kind.is_used(answer) for answer in answers if answer.status_code == 410)
    (whole,) = [answer.content for answer in answers if answer.status_code == 200]
    assert whole.count(b"\n") == rows + 1


def test_a_second_client_never_gets_the_file_right_after_the_first(deployment: Deployment, kind: Kind) -> None:
    one, other = deployment.services
    for _ in range(8):
        target = kind.make(deployment, 1)
        assert kind.get(one, target).status_code == 200
        assert kind.is_used(kind.get(other, target))


def test_the_client_whose_download_broke_off_resumes_and_begins_again_and_others_get_410_meanwhile(
    deployment: Deployment, kind: Kind
) -> None:
    one, other = deployment.services
    target = kind.make(deployment, TRADES)
    with httpx.stream("GET", one.base + target, headers=kind.headers(one, target), timeout=60) as broken:
        session = {SESSION: broken.headers[SESSION]}
        part = next(broken.iter_raw())
        assert kind.is_used(kind.get(one, target))  # while it is being sent
        assert kind.is_used(kind.get(other, target, {SESSION: secrets.token_urlsafe(24)}))
    etag, size = broken.headers["etag"], int(broken.headers["content-length"])
    assert len(part) < size
    assert kind.is_used(kind.get(other, target, {"Range": f"bytes={len(part)}-"}))
    rest = kind.get(other, target, session | {"Range": f"bytes={len(part)}-", "If-Range": etag})
    assert (rest.status_code, rest.headers[SESSION]) == (206, session[SESSION])
    assert f'"{hashlib.sha256(part + rest.content).hexdigest()}"' == etag
    again = kind.get(one, target, session)
    assert (again.status_code, len(again.content)) == (200, size)
    assert kind.is_used(kind.get(one, target))


def test_a_browser_proves_by_a_cookie_that_it_is_the_same(deployment: Deployment, kind: Kind) -> None:
    one, other = deployment.services
    target = kind.make(deployment, 1)
    with httpx.Client(timeout=60) as browser:
        first = browser.get(one.base + target, headers=kind.headers(one, target))
        cookie = first.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "path" not in cookie  # so that it is that of the file, as the browser sees it
        # A browser has one host for both; its ports are no part of a cookie.
        again = browser.get(other.base + target, headers=kind.headers(other, target))
        another = kind.make(deployment, 1)
        others = browser.get(one.base + another, headers=kind.headers(one, another))
    assert [first.status_code, again.status_code, others.status_code] == [200, 200, 200]
    assert again.content == first.content
    assert kind.is_used(kind.get(one, target))


def test_the_cookie_is_secure_where_browsers_use_tls(tmp_path: Path) -> None:
    server = {"public_url": "https://exports.example.com/fluxport"}
    journal_settings(tmp_path, 10, server=server)
    with service(tmp_path, "") as running:
        ann, kind = calling_as(running, "ann"), Kind(queue=True)
        target = kind.make(Deployment((ann, ann), tmp_path), 1)
        assert "secure" in kind.get(ann, target).headers["set-cookie"].lower()


def test_what_sends_no_byte_uses_nothing_up(deployment: Deployment, kind: Kind) -> None:
    one, other = deployment.services
    before = {path for path in deployment.files.rglob("*") if path.is_file()}
    target = kind.make(deployment, 1)
    (file,) = {path for path in deployment.files.rglob("*") if path.is_file()} - before
    assert kind.get(one, target, {"Range": "bytes=99999999-"}).status_code == 416
    moved = file.rename(file.with_suffix(".moved"))
    assert kind.get(one, target).status_code == 404
    moved.rename(file)
    head = httpx.head(one.base + target, headers=kind.headers(one, target, "HEAD"))
    assert (head.status_code, SESSION in head.headers, "set-cookie" in head.headers) == (200, False, False)
    assert kind.get(other, target).status_code == 200
    assert httpx.head(one.base + target, headers=kind.headers(one, target, "HEAD")).status_code == 410


def test_a_client_that_leaves_before_any_byte_gives_the_link_back(tmp_path: Path) -> None:
    """The redemption waits for a lock while the client leaves, so that the service sees it before the status."""
    journal_settings(tmp_path, 10)
    with scratch_postgres() as postgres, service(tmp_path, "", FLUXPORT_DATABASE=postgres.url) as running:
        ann = calling_as(running, "ann")
        deployment = Deployment((ann, ann), tmp_path / "exports")
        for kind in (Kind(queue=False), Kind(queue=True)):
            target = kind.make(deployment, 1)
            with psycopg.connect(postgres.url) as lock:
                lock.execute("LOCK TABLE used_links IN EXCLUSIVE MODE")
                with socket.create_connection(("127.0.0.1", ann.port)) as client:
                    head = "".join(f"{name}: {value}\r\n" for name, value in kind.headers(ann, target).items())
                    client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
                    assert wait_until(lambda: postgres.run(WAITING), 60)
            assert wait_until(lambda: postgres.run(LAST_ENDED) == [("broken_off", "0")], 60), postgres.run(LAST_ENDED)
            assert kind.get(ann, target).status_code == 200
            assert kind.is_used(kind.get(ann, target))


def test_a_session_outlives_the_service_that_was_killed(tmp_path: Path) -> None:
    journal_settings(tmp_path, TRADES)
    with service(tmp_path, "") as killed, service(tmp_path, "", "--no-worker") as left:
        kind, ann = Kind(queue=False), calling_as(killed, "ann")
        target = kind.make(Deployment((ann, ann), tmp_path / "exports"), TRADES)
        with httpx.stream("GET", ann.base + target, timeout=60) as broken:
            part = next(broken.iter_raw())
            os.kill(ann.pid, signal.SIGKILL)
        assert kind.is_used(kind.get(left, target))
        session = {SESSION: broken.headers[SESSION], "Range": f"bytes={len(part)}-"}
        rest = kind.get(left, target, session)
    assert f'"{hashlib.sha256(part + rest.content).hexdigest()}"' == broken.headers["etag"]


def test_links_made_within_one_second_are_different(deployment: Deployment) -> None:
    one, _ = deployment.services
    job = finished_job(one, queued_job(one, {"type": "trades", "params": {"limit": 1}})["id"])
    with ThreadPoolExecutor(12) as callers:
        made = list(callers.map(lambda _: deployment.link(job["id"]), range(12)))
    assert len(set(made)) == 12
    assert [httpx.get(one.base + link).status_code for link in made] == [200] * 12
    assert [httpx.get(one.base + link).status_code for link in made] == [410] * 12


def test_the_parts_of_an_export_go_to_the_same_client(deployment: Deployment) -> None:
    one, other = deployment.services
    body: dict[str, Any] = {"source": {"dataset": "trades", "params": {"limit": 30}}}
    export_id = one.post("/v1/exports", body | {"options": {"max_rows_per_file": 10}}).json()["id"]
    while one.get(f"/v1/exports/{export_id}").json()["status"] in ("queued", "running"):
        pass
    link = deployment.link(export_id)
    first = httpx.get(f"{one.base}{link}&part=1")
    session = {SESSION: first.headers[SESSION]}
    assert httpx.get(f"{other.base}{link}&part=2").status_code == 410
    parts = [first, *(httpx.get(f"{other.base}{link}&part={number}", headers=session) for number in (2, 3))]
    assert [part.content.count(b"\n") for part in parts] == [11, 11, 11]
