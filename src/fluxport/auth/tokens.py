"""Download tokens: the bearer of one may fetch one file until it expires. Stateless; the clock is an argument."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from fluxport.errors import Forbidden, Gone

ONCE = "once"  # the purpose of a one-time token


def download_token(secret: bytes, export_id: str, file_name: str, expires_at: int, purpose: str = "download") -> str:
    """A token for ``file_name`` of ``export_id`` until ``expires_at`` (unix seconds); ``purpose`` is one word, which a
    dot and a nonce may follow."""
    return f"{expires_at}.{purpose}.{_mac(secret, purpose, export_id, file_name, expires_at)}"


def one_time_token(secret: bytes, export_id: str, file_name: str, expires_at: int) -> str:
    """A token with a nonce: each redemption is of one token, so no two may be the same."""
    return download_token(secret, export_id, file_name, expires_at, f"{ONCE}.{secrets.token_urlsafe(12)}")


def check_download_token(secret: bytes, token: str, export_id: str, file_name: str, now: float) -> str:
    """The token's purpose, without nonce; Forbidden if it is not valid for this file, Gone if it has expired. A token
    without a nonce, as older versions issued them, is checked in the same way."""
    expires, _, rest = token.partition(".")
    purpose, _, mac = rest.rpartition(".")
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
        raise bad_token()
    if not same_token(mac, _mac(secret, purpose, export_id, file_name, int(expires))):
        raise bad_token()
    if int(expires) <= now:
        raise link_expired()
    return purpose.partition(".")[0]


def numbered_token(secret: bytes, export_id: str, number: int) -> str:
    """The token that the export has under this number: 32 hex digits. When it expires is in the export's record."""
    message = "\n".join(("fluxport numbered token v1", export_id, str(number)))
    return hmac.new(secret, message.encode(), hashlib.sha256).hexdigest()[:32]


def same_token(one: str, other: str) -> bool:
    """Whether both are the same, in a time that does not depend on where they differ."""
    return hmac.compare_digest(_bytes(one), _bytes(other))


def token_digest(token: str) -> str:
    """The SHA-256 of a token, in hex: the database has no token that could be used."""
    return hashlib.sha256(_bytes(token)).hexdigest()


def bad_token() -> Forbidden:
    return Forbidden("This download link is not valid.", code="bad_token")


def link_expired() -> Gone:
    return Gone("This download link has expired; request a new one.", code="link_expired")


def _bytes(token: str) -> bytes:
    return token.encode("utf-8", "surrogatepass")


def _mac(secret: bytes, purpose: str, export_id: str, file_name: str, expires_at: int) -> str:
    message = "\n".join(("fluxport link v1", purpose, export_id, file_name, str(expires_at)))
    digest = hmac.new(secret, message.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
