"""Webhooks as Standard Webhooks (standardwebhooks.com): one signed POST to a URL that a caller named.

It is sent to the address that was checked (targets.py), with the host's name in SNI, certificate and Host; without
a proxy, following no redirect, within one deadline for everything, however slowly the receiver responds:

    webhook-signature: v1,BASE64(HMAC-SHA256(key, id "." timestamp "." body))     one per secret, separated by spaces
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fluxport.delivery._reach import Resolve, reached, requested_wait_s
from fluxport.delivery.targets import AllowList, Target, check_name, read_target
from fluxport.errors import Gone, Refused, Unavailable
from fluxport.outbound import Cancel

EVENT_TYPES = ("export.completed", "export.failed", "export.canceled", "export.expired")
SECRET_BYTES_MIN = 24  # the standard's minimum

# 5 s, 5 min, 30 min, 2 h, 5 h, 8 h, 8 h: as the standard suggests, all within a day.
_DELAYS_S = (5, 300, 1800, 7200, 18000, 28800, 28800)


@dataclass(frozen=True)
class WebhookOptions:
    """``allow`` names hosts and networks that may be reached although they are not public (``AllowList``).

    Any port is allowed. ``timeout_s`` is for one whole delivery, from DNS resolution to the end of the response.
    """

    allow: tuple[str, ...] = ()
    http_allowed: bool = False  # else only https
    timeout_s: float = 15.0
    ca_file: str | None = None  # authorities to trust besides the system's

    def __post_init__(self) -> None:
        AllowList(self.allow)  # raises at the start if an entry is invalid


@dataclass(frozen=True)
class WebhookEvent:
    """An event, the same in every attempt; receivers detect duplicates by ``id``. A ``traceparent`` is sent as header:
    the attempt's place in the trace of the export."""

    id: str
    type: str
    occurred_at: float  # Unix time
    data: Mapping[str, Any] = field(repr=False)
    traceparent: str = ""

    def __post_init__(self) -> None:
        if self.type not in EVENT_TYPES:
            raise ValueError(f"not an event type: {self.type!r}")
        # A dot would let id and timestamp trade places under one signature.
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", self.id):
            raise ValueError(f"not an event id: {self.id!r}")

    def body(self) -> bytes:
        timestamp = datetime.fromtimestamp(self.occurred_at, UTC).isoformat(timespec="milliseconds")
        content = {"type": self.type, "timestamp": timestamp.replace("+00:00", "Z"), "data": self.data}
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def send_webhook(
    options: WebhookOptions,
    url: str,
    secrets: tuple[str, ...],
    event: WebhookEvent,
    now: float,
    *,
    resolve: Resolve = socket.getaddrinfo,
) -> None:
    """Deliver ``event`` once; ``secrets`` is usually one, two during rotation, ``now`` the attempt's Unix time.

    Returns after a 2xx response (its body is read and ignored). Gone after 410: the receiver wants no more events.
    Refused for a forbidden URL and for a redirect. Unavailable for everything temporary: other statuses (with their
    ``Retry-After``), no connection, an unresolved name, a bad certificate.
    """
    target = read_target(url, http_allowed=options.http_allowed)
    body = event.body()
    headers = signed_headers(secrets, event.id, body, now)
    lines = {
        "Host": target.authority,
        "User-Agent": "Fluxport-Webhook",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers,
        **({"traceparent": event.traceparent} if event.traceparent else {}),
    }
    limit = f"did not respond within {options.timeout_s:g} seconds"
    allow, cancel = AllowList(options.allow), Cancel()
    cancel.after(options.timeout_s)
    with (
        closing(cancel),
        reached(target, allow, options.ca_file, resolve, connect_s=options.timeout_s, late=limit) as receiver,
    ):
        response = receiver.request("POST", target.path, lines, (body,), stall_s=options.timeout_s, cancel=cancel)
    _judge(target, response.status, requested_wait_s(response, now))


def check_url(options: WebhookOptions, url: str) -> None:
    """Refused if ``url`` is invalid, without resolving its name; the addresses are checked later."""
    check_name(read_target(url, http_allowed=options.http_allowed), AllowList(options.allow))


def check_secret(secret: str) -> None:
    """Refused if ``secret`` cannot sign webhooks."""
    _key(secret)


def retry_delays(random: Callable[[], float]) -> tuple[float, ...]:
    """Seconds to wait before each retry, 24 hours in all at most.

    ``random`` returns numbers from 0 to 1; each wait is shortened by up to a tenth, so that retries spread out.
    """
    return tuple(delay * (1 - 0.1 * random()) for delay in _DELAYS_S)


def signed_headers(secrets: tuple[str, ...], event_id: str, body: bytes, now: float) -> dict[str, str]:
    """The standard's three headers, with a signature by each secret."""
    timestamp = str(int(now))
    message = b".".join([event_id.encode(), timestamp.encode(), body])
    digests = [hmac.new(_key(secret), message, hashlib.sha256).digest() for secret in secrets]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }


def _key(secret: str) -> bytes:
    """The key of a secret: decoded base64 after ``whsec_``, else the secret's own bytes."""
    encoded = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded, validate=True) if encoded != secret else secret.encode()
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < SECRET_BYTES_MIN:
        raise Refused(
            f"A webhook secret must be whsec_ and base64, or plain text, of at least {SECRET_BYTES_MIN} bytes.",
            code="bad_webhook_secret",
        )
    return key


def _judge(target: Target, status: int, retry_after_s: float | None) -> None:
    if 200 <= status <= 299:
        return
    if status == 410:
        raise Gone(f"The webhook's receiver {target.host} wants no more events (status 410).")
    if 300 <= status <= 399:
        raise Refused(
            f"The webhook's receiver {target.host} redirects (status {status}); redirects are not followed: use the "
            "final URL.",
            code="webhook_redirect",
        )
    raise Unavailable(
        f"The webhook's receiver {target.host} responded with {status} instead of 2xx.",
        code="webhook_rejected",
        retry_after_s=retry_after_s,
    )
