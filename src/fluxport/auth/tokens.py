"""Download tokens: the bearer of one may fetch one file until it expires. Stateless; the clock is an argument."""

from __future__ import annotations

import base64
import hashlib
import hmac

from fluxport.errors import Forbidden, Gone


def download_token(secret: bytes, export_id: str, file_name: str, expires_at: int, purpose: str = "download") -> str:
    """A token for ``file_name`` of ``export_id`` until ``expires_at`` (unix seconds); ``purpose`` is one word."""
    return f"{expires_at}.{purpose}.{_mac(secret, purpose, export_id, file_name, expires_at)}"


def check_download_token(secret: bytes, token: str, export_id: str, file_name: str, now: float) -> str:
    """The token's purpose; Forbidden if it is not valid for this file, Gone if it has expired."""
    expires, purpose, mac = (*token.split(".", 2), "", "")[:3]
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
        raise Forbidden("This download link is not valid.", code="bad_token")
    if not hmac.compare_digest(mac.encode(), _mac(secret, purpose, export_id, file_name, int(expires)).encode()):
        raise Forbidden("This download link is not valid.", code="bad_token")
    if int(expires) <= now:
        raise Gone("This download link has expired; request a new one.", code="link_expired")
    return purpose


def _mac(secret: bytes, purpose: str, export_id: str, file_name: str, expires_at: int) -> str:
    message = "\n".join(("fluxport link v1", purpose, export_id, file_name, str(expires_at)))
    digest = hmac.new(secret, message.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
