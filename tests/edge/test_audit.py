"""The audit of a running service: each file that leaves it has an entry before its first byte, and one with what was
sent."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fork_server import run
from journal_service import download, finished_job, journal_service, queued_job
from mail_receiver import mail_server
from service_support import Client, emulator, service
from webhook_receiver import Receiver, receiving, status

USERS = {"source": {"query": "SELECT id, name, email FROM users ORDER BY id"}}
ROWS = 400_000  # more than two sockets hold
SIZE_LEAST = ROWS * 20


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lines(folder: Path, export_id: str, action: str | None = None) -> list[dict[str, Any]]:
    """The entries of ``fluxport audit`` about an export, oldest first."""
    words = ["audit", "--json", "--export", export_id]
    words += ["--action", action] if action else []
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("FLUXPORT_", "API_", "MYSQL_"))}
    done = run(*words, folder=folder, environ=environ)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()][::-1]


def ended_lines(folder: Path, export_id: str, action: str, count: int) -> list[dict[str, Any]]:
    """The lines once there are ``count``: the last one is written after the last byte."""
    until(lambda: len(lines(folder, export_id, action)) == count)
    return lines(folder, export_id, action)


def ended(client: Client, body: Any) -> dict[str, Any]:
    export_id = client.post("/v1/exports", body).json()["id"]
    while (job := client.get(f"/v1/exports/{export_id}").json())["status"] in ("queued", "running"):
        time.sleep(0.05)
    assert job["status"] == "completed", job
    return dict(job)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with emulator(folder, ROWS) as found:
        yield found


@pytest.fixture(scope="module")
def client(folder: Path, url: str) -> Iterator[Client]:
    with service(folder, url) as running:
        yield running


@pytest.fixture(scope="module")
def job(client: Client) -> dict[str, Any]:
    return ended(client, USERS)


def test_all_but_the_last_byte_is_recorded_even_by_a_link_for_one_use(
    client: Client, folder: Path, job: dict[str, Any]
) -> None:
    link = client.post(f"/v1/exports/{job['id']}/links", {"one_time": True}).json()["url"]
    size = job["bytes"]
    assert len(client.plain_get(link, {"Range": f"bytes=0-{size - 2}"}).content) == size - 1
    begun, sent = ended_lines(folder, job["id"], "download", 2)
    assert (begun["outcome"], sent["outcome"]) == ("begun", "sent")
    assert begun["transfer"] == sent["transfer"]
    assert begun["range"] == sent["range"] == f"0-{size - 2}/{size}"
    assert (sent["sent_bytes"], sent["bytes"]) == (size - 1, size)
    assert client.plain_get(link).status_code == 410
    assert len(ended_lines(folder, job["id"], "download", 2)) == 2


def test_a_download_that_breaks_off_is_recorded_with_what_was_sent(
    client: Client, folder: Path, job: dict[str, Any]
) -> None:
    before = len(lines(folder, job["id"], "download"))
    with socket.create_connection(("127.0.0.1", client.port)) as cut:
        path = job["download"]["url"].removeprefix(client.base)
        cut.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        cut.recv(100)
        begun = lines(folder, job["id"], "download")[-1]
        assert (begun["outcome"], begun["length"], begun["address"]) == ("begun", job["bytes"], "127.0.0.1")
    broken = ended_lines(folder, job["id"], "download", before + 2)[-1]
    assert (broken["outcome"], broken["transfer"]) == ("broken_off", begun["transfer"])
    assert 0 < broken["sent_bytes"] < job["bytes"]


def test_a_head_request_does_not_count_as_a_download(client: Client, folder: Path, job: dict[str, Any]) -> None:
    before = len(lines(folder, job["id"], "download"))
    link = job["download"]["url"]
    assert httpx.head(link).status_code == 200
    assert client.plain_get(link, {"Range": f"bytes={job['bytes']}-"}).status_code == 416
    assert client.plain_get(link + "x").status_code == 403
    assert len(lines(folder, job["id"], "download")) == before


def test_a_stream_is_recorded_before_its_first_byte(client: Client, folder: Path) -> None:
    answer = client.post("/v1/stream", USERS)
    begun, done = ended_lines(folder, answer.headers["x-export-id"], "export", 2)
    assert (begun["outcome"], done["outcome"]) == ("begun", "completed")
    assert begun["source"]["query"] == USERS["source"]["query"]
    assert done["bytes"] == done["sent_bytes"] == len(answer.content)


def test_a_stream_that_breaks_off_is_recorded_with_what_was_sent(client: Client, folder: Path) -> None:
    body = json.dumps(USERS).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in client.headers("POST", "/v1/stream", body).items())
    with socket.create_connection(("127.0.0.1", client.port)) as cut:
        cut.sendall(f"POST /v1/stream HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += cut.recv(1000)
        export_id = re.search(rb"(?i)x-export-id: (\S+)", answer)
    assert export_id is not None
    begun, broken = ended_lines(folder, export_id[1].decode(), "export", 2)
    assert (begun["outcome"], broken["outcome"], broken["error_code"]) == ("begun", "failed", "client_gone")
    assert 0 < broken["sent_bytes"] < SIZE_LEAST


def test_what_a_killed_service_was_sending_has_its_beginning(url: str, tmp_path: Path) -> None:
    with service(tmp_path, url) as own:
        job = ended(own, USERS)
        with socket.create_connection(("127.0.0.1", own.port)) as cut:
            path = job["download"]["url"].removeprefix(own.base)
            cut.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            cut.recv(100)
            os.kill(own.pid, signal.SIGKILL)
    (begun,) = lines(tmp_path, job["id"], "download")
    assert (begun["outcome"], begun["length"]) == ("begun", job["bytes"])


def test_the_old_routes_downloads_are_recorded_too(tmp_path: Path) -> None:
    with journal_service(tmp_path, 500) as ann:
        job = finished_job(ann, queued_job(ann, {"type": "trades", "format": "csv"})["id"])
        content = download(ann, job).content
        begun, sent = ended_lines(tmp_path, job["id"], "download", 2)
    assert (begun["outcome"], sent["outcome"], sent["user"]) == ("begun", "sent", "ann")
    assert sent["sent_bytes"] == len(content)


def test_a_mail_without_a_mail_server_is_logged_and_not_sent(client: Client, folder: Path) -> None:
    job = ended(client, USERS | {"notify": {"email": ["a@example.com"]}})
    (line,) = ended_lines(folder, job["id"], "email", 1)
    assert (line["outcome"], line["sent_bytes"], line["to"]) == ("logged", 0, "a@example.com")


def test_a_mail_is_recorded_with_the_bytes_of_its_attachment(url: str, tmp_path: Path) -> None:
    with mail_server() as mail:
        settings = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mail.port), "SMTP_FROM": "exports@example.com"}
        with service(tmp_path, url, **settings) as own:
            few = {"source": {"query": "SELECT id FROM users LIMIT 100"}, "notify": {"email": ["a@example.com"]}}
            job = ended(own, few)
            begun, sent = ended_lines(tmp_path, job["id"], "email", 2)
    assert (begun["outcome"], sent["outcome"]) == ("begun", "sent")
    assert begun["to"] == sent["to"] == "a@example.com"
    assert sent["sent_bytes"] == job["bytes"]
    assert [line["action"] for line in lines(tmp_path, job["id"])] == ["export", "email", "email"]


def test_each_try_of_a_webhook_is_recorded_and_its_url_only_by_its_host(url: str, tmp_path: Path) -> None:
    def fail_once(receiver: Receiver, request: Any) -> None:
        status(503 if len(receiver.requests) == 1 else 200)(receiver, request)

    with receiving(fail_once) as receiver:
        settings = {"FLUXPORT_WEBHOOKS__ALLOW": json.dumps(["127.0.0.1"]), "FLUXPORT_WEBHOOKS__HTTP_ALLOWED": "true"}
        with service(tmp_path, url, **settings) as own:
            target = f"http://127.0.0.1:{receiver.port}/hook?token=a-secret"
            few = {"source": {"query": "SELECT id FROM users LIMIT 100"}, "notify": {"webhook": target}}
            job = ended(own, few)
            reported = ended_lines(tmp_path, job["id"], "webhook", 4)
    outcomes = [(line["outcome"], line["try"]) for line in reported]
    assert outcomes == [("begun", 1), ("webhook_rejected", 1), ("begun", 2), ("sent", 2)]
    assert {line["to"] for line in reported} == {f"http://127.0.0.1:{receiver.port}"}
    assert "a-secret" not in json.dumps(reported)
