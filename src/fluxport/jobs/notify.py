"""Notifications that an export has ended: mails, webhooks and uploads. Each target is a separate durable step,
retried while the receiver cannot be reached, always under the same id."""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fluxport.delivery.email import EmailOptions, check_recipient, send_email
from fluxport.delivery.letter import Mail, SentFile
from fluxport.delivery.push import Upload, check_upload, send_file
from fluxport.delivery.webhook import WebhookEvent, WebhookOptions, check_url, retry_delays, send_webhook
from fluxport.error_codes import Failure
from fluxport.errors import FluxportError, Refused
from fluxport.jobs.outcome import Result, expired
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.view import job_json, unix
from fluxport.pipeline import as_failure
from fluxport.stages import Chunks, Sink
from fluxport.tables import patiently
from fluxport.telemetry import events, traces

T = TypeVar("T")

log = logging.getLogger("fluxport.notify")

MAILS_MAX = 10


def check_notify(given: Any, webhooks: WebhookOptions, domains: Collection[str] | None = None) -> dict[str, Any]:
    """``{"email": [...], "webhook": "https://...", "upload": {"url", "headers"}}`` in the form that is stored. Refused
    for an invalid target, Forbidden for an address whose domain is not in ``domains``."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or set(given) - {"email", "webhook", "upload"}:
        raise Refused(
            "'notify' takes 'email' (a list of addresses), 'webhook' (a URL) and 'upload' (a URL that takes a PUT).",
            code="bad_notify",
        )
    mails, url = given.get("email", []), given.get("webhook")
    if not isinstance(mails, list) or len(mails) > MAILS_MAX or not all(isinstance(mail, str) for mail in mails):
        raise Refused(f"'notify.email' takes a list of at most {MAILS_MAX} addresses.", code="bad_notify")
    checked: dict[str, Any] = {"email": [check_recipient(mail, domains) for mail in mails]}
    if url is not None:
        if not isinstance(url, str):
            raise Refused("'notify.webhook' takes a URL.", code="bad_notify")
        check_url(webhooks, url)
        checked["webhook"] = url
    if (upload := given.get("upload")) is not None:
        checked["upload"] = _checked_upload(upload, webhooks)
    return checked


def _checked_upload(given: Any, webhooks: WebhookOptions) -> dict[str, Any]:
    upload = {"url": given} if isinstance(given, str) else given
    if not isinstance(upload, Mapping) or set(upload) - {"url", "headers"} or not isinstance(upload.get("url"), str):
        raise Refused('\'notify.upload\' takes a URL, or {"url": ..., "headers": {...}}.', code="bad_notify")
    headers = upload.get("headers", {})
    if not isinstance(headers, Mapping) or not all(isinstance(value, str) for value in headers.values()):
        raise Refused("'notify.upload.headers' takes header names with text values.", code="bad_notify")
    check_upload(webhooks, Upload(upload["url"], dict(headers)))
    return {"url": upload["url"], "headers": dict(headers)}


class FileBytes:
    """Counts the bytes of the file that one attempt reads in order to send them."""

    def __init__(self) -> None:
        self.count = 0

    def counted(self, chunks: Chunks) -> Chunks:
        with closing(chunks):
            for chunk in chunks:
                self.count += len(chunk)
                yield chunk


def _destination(record: Record, kind: str, number: int) -> str:
    """The target of an attempt, for the audit: a mail address, or only the host of a URL, as the rest may be secret."""
    if kind == "email":
        return str(record.notify["email"][number])
    url = urlsplit(record.notify["webhook"] if kind == "webhook" else record.notify["upload"]["url"])
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"


@dataclass(frozen=True)
class Notifier:
    """``link`` returns a link that a recipient can open; ``attach`` allows small files as mail attachments."""

    store: JobStore
    email: EmailOptions
    webhooks: WebhookOptions
    webhook_secrets: tuple[str, ...]
    link: Callable[[Record], dict[str, Any] | None]
    sinks: Mapping[str, Sink]
    attach: bool = True
    draining: threading.Event = field(default_factory=threading.Event)

    def notify(self, export_id: str, target: str, tries: int) -> float | None:
        """Notify one target once; returns the seconds until the next attempt, None if there is none. Writes two audit
        lines: one before anything is sent, and one afterwards, with the number of bytes of the file that were sent."""
        record = self._retrying(lambda: self.store.get(export_id))
        kind, number = target.split(":")
        sent, wait_s = FileBytes(), None
        to = _destination(record, kind, int(number))
        detail: dict[str, Any] = {"export_id": export_id, "to": to, "try": tries + 1}
        if kind != "email" or self.email.host:
            self._retrying(lambda: self.store.note(kind, record.owner, "begun", **detail))
        began = time.monotonic()
        try:
            with traces.span("notify", record.ids.traceparent, {"fluxport.target": kind}, kind="client") as span:
                outcome = self._send(record, kind, int(number), sent, span.traceparent)
        except Exception as raised:  # any error is recorded in the audit
            error = as_failure(raised)
            if not isinstance(raised, FluxportError):
                log.exception("sending a notification failed", extra={"task_id": export_id})
            events.emit("NotificationFailed", record.ids, error, target=kind, attempt=tries + 1)
            outcome, delays = error.code, retry_delays(random.random)
            if error.retryable and tries < len(delays):
                wait_s = max(delays[tries], error.retry_after_s or 0.0)
        else:
            if outcome == "sent":  # else it was only logged
                took_ms = round((time.monotonic() - began) * 1000, 1)
                events.emit("NotificationSent", record.ids, target=kind, attempt=tries + 1, duration_ms=took_ms)
        self._retrying(lambda: self.store.note(kind, record.owner, outcome, sent_bytes=sent.count, **detail))
        return wait_s

    def _send(self, record: Record, kind: str, number: int, sent: FileBytes, traceparent: str) -> str:
        """Send one notification; returns its outcome for the audit."""
        if kind == "email":
            return send_email(self.email, self._mail(record, record.notify["email"][number], sent))
        if kind == "upload":
            self._upload(record, sent)
        else:
            self._send_webhook(record, traceparent)
        return "sent"

    def _retrying(self, do: Callable[[], T]) -> T:
        return patiently(do, self.draining, staying=True)

    def _mail(self, record: Record, recipient: str, sent: FileBytes) -> Mail:
        outcome: SentFile | Failure
        if record.status == "expired":
            raise expired()
        if record.status == "completed" and record.result is not None:
            outcome = self._file(record, record.result, sent)
        else:
            outcome = record.error or Failure("failed", "The export failed.")
        return Mail(
            recipient=recipient,
            export_id=record.id,
            outcome=outcome,
            submitted_at=record.created_at,
            started_at=record.started_at,
            finished_at=record.finished_at or record.created_at,
        )

    def _file(self, record: Record, result: Result, sent: FileBytes) -> SentFile:
        link = self.link(record)
        sink, location = self.sinks[record.spec.store], result.location
        assert location is not None  # it is stored
        return SentFile(
            name=result.filename,
            media_type=result.media_type,
            rows=result.rows,
            size_bytes=result.bytes,
            sha256=result.sha256,
            link=link["url"] if link else None,
            link_expires_at=unix(link["expires_at"]) if link else None,
            chunks=(lambda: sent.counted(sink.open(location))) if self.attach and not result.files else None,
            warnings=tuple(warning["message"] for warning in result.warnings),
        )

    def _upload(self, record: Record, sent: FileBytes) -> None:
        """Send the file to the caller's own URL."""
        result = record.result
        assert result is not None  # only a completed export has an upload
        assert result.location is not None
        send_file(
            self.webhooks,
            Upload(**record.notify["upload"]),
            sent.counted(self.sinks[record.spec.store].open(result.location)),
            size_bytes=result.bytes,
            sha256=result.sha256,
            media_type=result.media_type,
            now=self.store.clock(),
        )

    def _send_webhook(self, record: Record, traceparent: str) -> None:
        kind = f"export.{record.status}"
        # The id is the same in every worker and every attempt, so that receivers can drop duplicates.
        event_id = "evt_" + hashlib.sha256(f"{record.id} {kind}".encode()).hexdigest()[:32]
        data = job_json(record, self.store.clock(), self.link(record))
        event = WebhookEvent(event_id, kind, record.finished_at or record.created_at, data, traceparent)
        send_webhook(self.webhooks, record.notify["webhook"], self.webhook_secrets, event, self.store.clock())
