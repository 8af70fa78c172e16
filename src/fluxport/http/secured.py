"""Security headers of HTML pages: no external resources, no inline code except the given style, no framing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping


def html_headers(style: str = "", *, form_action: str = "'none'") -> dict[str, str]:
    """Headers of a page without scripts. ``style`` is the text between its only ``<style>`` tags, ``form_action`` the
    CSP source that its forms may submit to."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _headers({"style-src": f"'sha256-{digest}'", "form-action": form_action})


def page_headers() -> dict[str, str]:
    """Headers of a page whose scripts and styles are files of this service, and which calls its API."""
    return _headers(
        {
            "script-src": "'self'",
            "style-src": "'self'",
            "connect-src": "'self'",
            "img-src": "'self' data:",
            "form-action": "'self'",
        }
    )


def _headers(allowed: Mapping[str, str]) -> dict[str, str]:
    policy = {"default-src": "'none'", **allowed, "base-uri": "'none'", "frame-ancestors": "'none'"}
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
