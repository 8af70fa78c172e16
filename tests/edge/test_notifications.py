"""Notifications that an export has ended: by a real mail server and a webhook receiver."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from mail_receiver import mail_server
from service_support import emulator, service
from webhook_receiver import Receiver, receiving, status

USERS = {"source": {"query": "SELECT id, name FROM users ORDER BY id"}}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def until(condition: Callable[[], object], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_mail_brings_the_file_and_a_failure_is_mailed_too(tmp_path: Path) -> None:
    with mail_server() as mail, emulator(tmp_path, 100) as url:
        settings = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mail.port), "SMTP_FROM": "exports@example.com"}
        with service(tmp_path, url, **settings) as client:
            body = {"query": "SELECT id, name FROM users", "email": "a@example.com"}
            job_id = client.post("/export", body, version=1).json()["job_id"]
            until(lambda: len(mail.mails) == 1)
            bad = {"query": "SELECT nowhere FROM users", "email": "b@example.com"}
            client.post("/export", bad, version=1)
            until(lambda: len(mail.mails) == 2)
            reported = client.finished(job_id)
            file = client.plain_get(reported["download_url"]).content
    ready, failed = (taken.message() for taken in mail.mails)
    assert ready["Subject"] == "Your Database Export is Ready (Attached)"
    attachment = next(ready.iter_attachments())
    assert attachment.get_payload(decode=True) == file
    assert job_id in str(ready)
    assert "b@example.com" in failed["To"]
    assert "Ready" not in failed["Subject"]


def test_a_webhook_is_signed_and_retried_with_the_same_id_until_accepted(tmp_path: Path) -> None:
    def fail_once(receiver: Receiver, request: Any) -> None:
        status(503 if len(receiver.requests) == 1 else 200)(receiver, request)

    with receiving(fail_once) as receiver, emulator(tmp_path, 100) as url:
        settings = {
            "FLUXPORT_WEBHOOKS__SECRETS": json.dumps([SECRET]),
            "FLUXPORT_WEBHOOKS__ALLOW": json.dumps(["127.0.0.1"]),
            "FLUXPORT_WEBHOOKS__HTTP_ALLOWED": "true",
        }
        with service(tmp_path, url, **settings) as client:
            target = f"http://127.0.0.1:{receiver.port}/hook"
            answer = client.post("/v1/exports", USERS | {"notify": {"webhook": target}})
            assert answer.status_code == 202, answer.text
            until(lambda: len(receiver.requests) >= 2, 30)
            first, second = receiver.requests[:2]
            assert first.headers["webhook-id"] == second.headers["webhook-id"]
            event = Webhook(SECRET).verify(second.body, second.headers)
            assert event["type"] == "export.completed"
            assert (event["data"]["id"], event["data"]["rows"]) == (answer.json()["id"], 100)


def test_a_webhook_to_an_internal_address_is_refused_when_requested(tmp_path: Path) -> None:
    with emulator(tmp_path, 10) as url, service(tmp_path, url) as client:
        for target in ("http://127.0.0.1/x", "https://169.254.169.254/latest", "https://[::1]/", "ftp://example.com/"):
            answer = client.post("/v1/exports", USERS | {"notify": {"webhook": target}})
            assert answer.status_code == 400, target
