"""Signed requests: the caller proves knowledge of a secret without sending it.

Both versions are HMAC-SHA256 with the secret's UTF-8 bytes, in lowercase hex:

- v1, FluxQuery's: METHOD + PATH + BODY + TIMESTAMP without delimiters, PATH without its query. It covers neither query
  nor nonce, so only the old APIs accept it (``accept`` of ``verify``).
- v2: the lines ``v2``, METHOD, path with query, timestamp, nonce, hex SHA-256 of the body, joined by LF; sent as
  ``X-Signature: v2=<hex>``.

    v1   POST/jobs{"query":"SELECT 1"}1735689600
    v2   v2 LF POST LF /v1/stream?x=1 LF 1735689600 LF nonce LF sha256(body) in hex

As v1 has no delimiters, headers are parsed strictly: within the window every timestamp has the same number of digits
and no leading zero, so no characters can move between body and timestamp under one signature.

A valid signature may be a replay: ``replay.Replays.use`` accepts each one once. This module and every client are tested
with ``examples/signing_vectors.json``.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fluxport.auth.scopes import EVERYTHING
from fluxport.errors import Refused, Unauthorized

WINDOW_S = 300
DEFAULT_KEY_ID = "default"  # the key that signs v1 requests without X-Key-Id

Version: TypeAlias = Literal["v1", "v2"]
RawHeaders: TypeAlias = Iterable[tuple[bytes, bytes]]

_SHAPES = {
    b"x-key-id": re.compile(rb"[A-Za-z0-9._-]{1,64}"),
    b"x-timestamp": re.compile(rb"[1-9][0-9]{0,11}"),
    b"x-nonce": re.compile(rb"[A-Za-z0-9_-]{16,64}"),
    b"x-signature": re.compile(rb"(?:v2=)?[0-9a-f]{64}"),
}
_UNKNOWN = (b"the secret of unknown keys, so that checking them takes as long as known ones",)


@dataclass(frozen=True)
class SigningKey:
    """A key and its secrets: usually one, two during rotation. Its exports belong to ``user``, else to the key itself.

    Raises Refused for an invalid id or an empty secret.
    """

    id: str
    secrets: tuple[str, ...] = field(repr=False)
    user: str | None = None
    scopes: frozenset[str] = EVERYTHING
    active_max: int | None = None
    own_results: bool = False
    mail_domains: tuple[str, ...] | None = None

    @property
    def owner(self) -> str:
        return self.user or self.id

    def __post_init__(self) -> None:
        if not _SHAPES[b"x-key-id"].fullmatch(self.id.encode()):
            raise Refused(f"The key id {self.id!r} must be 1 to 64 letters, digits, '.', '_' or '-': rename it.")
        if not self.secrets or not all(secret.strip() for secret in self.secrets):
            raise Refused(f"The key {self.id!r} has an empty secret: set one, for example from `fluxport secret`.")


@dataclass(frozen=True)
class Signed:
    """A request whose signature is valid. ``signature`` is its 64 hex digits, which identify a replay."""

    key_id: str
    version: Version
    timestamp: int
    signature: str


def sign_v1(
    secret: str, method: str, target: str, body: bytes, timestamp: int, key_id: str | None = None
) -> dict[str, str]:
    """The headers of a v1 request; only the path of ``target`` is signed, without its query."""
    headers = {"X-Key-Id": key_id} if key_id is not None else {}
    signature = _hex(_key(secret), _message_v1(method, target.encode(), body, str(timestamp)))
    return headers | {"X-Timestamp": str(timestamp), "X-Signature": signature}


def sign_v2(
    secret: str, key_id: str, method: str, target: str, body: bytes, timestamp: int, nonce: str
) -> dict[str, str]:
    """The headers of a v2 request; ``target`` is path and query as sent, ``nonce`` 16 to 64 url-safe characters."""
    signature = _hex(_key(secret), _message_v2(method, target.encode(), body, str(timestamp), nonce))
    return {
        "X-Key-Id": key_id,
        "X-Timestamp": str(timestamp),
        "X-Nonce": nonce,
        "X-Signature": f"v2={signature}",
    }


def is_signed(headers: RawHeaders) -> bool:
    """Whether the request carries a signature, valid or not."""
    return any(name.lower() == b"x-signature" for name, _ in headers)


def verify(
    keys: Mapping[str, SigningKey],
    method: str,
    target: bytes,
    headers: RawHeaders,
    body: bytes,
    now: float,
    accept: Collection[Version] = ("v1", "v2"),
) -> Signed:
    """Verify the signature of a request as received: ``target`` is path and query undecoded, ``now`` Unix time.

    Raises the same Unauthorized for every reason.
    """
    sent = _read(headers)
    timestamp = sent["x-timestamp"]
    version: Version = "v2" if sent["x-signature"].startswith("v2=") else "v1"
    if version == "v2":
        message = _message_v2(method, target, body, timestamp, sent.get("x-nonce", ""))
        complete = "x-nonce" in sent and "x-key-id" in sent
    else:
        message = _message_v1(method, target, body, timestamp)
        complete = True
    signature = sent["x-signature"].removeprefix("v2=")
    key_id = sent.get("x-key-id", DEFAULT_KEY_ID)
    key = keys.get(key_id)
    secrets = tuple(map(_key, key.secrets)) if key else _UNKNOWN
    # Every secret is tried, so that the time taken does not reveal which one matches.
    matches = [hmac.compare_digest(_hex(secret, message), signature) for secret in secrets]
    in_window = abs(int(now) - int(timestamp)) <= WINDOW_S
    if not (any(matches) and key and complete and in_window and version in accept):
        raise _unauthorized()
    return Signed(key_id, version, int(timestamp), signature)


def _read(headers: RawHeaders) -> dict[str, str]:
    """The signature headers by lowercase name, each at most once and well-formed."""
    sent: dict[str, str] = {}
    for raw_name, value in headers:
        shape = _SHAPES.get(raw_name.lower())
        if shape is None:
            continue
        name = raw_name.lower().decode("ascii")
        if name in sent or not shape.fullmatch(value):
            raise _unauthorized()
        sent[name] = value.decode("ascii")
    if not sent.keys() >= {"x-timestamp", "x-signature"}:
        raise _unauthorized()
    return sent


def _unauthorized() -> Unauthorized:
    return Unauthorized(
        "The request's signature is missing or not valid: check the key and its secret, the clock (300 seconds either "
        "way), and that method, path and body are signed exactly as sent."
    )


def _key(secret: str) -> bytes:
    if not secret:
        raise Refused("An empty secret signs nothing: set one, for example from `fluxport secret`.")
    return secret.encode()


def _message_v1(method: str, target: bytes, body: bytes, timestamp: str) -> bytes:
    return method.encode() + target.partition(b"?")[0] + body + timestamp.encode()


def _message_v2(method: str, target: bytes, body: bytes, timestamp: str, nonce: str) -> bytes:
    digest = hashlib.sha256(body).hexdigest()
    return b"\n".join([b"v2", method.encode(), target, timestamp.encode(), nonce.encode(), digest.encode()])


def _hex(secret: bytes, message: bytes) -> str:
    return hmac.new(secret, message, hashlib.sha256).hexdigest()
