"""HTTP headers that several packages write or read."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import SplitResult, quote, urlsplit

_HOST = re.compile(r"[A-Za-z0-9._:%-]+")


def web_address(text: str) -> SplitResult | None:
    """The parts of ``http(s)://host[:port][/path]``; None for anything else, such as a user, a query or a fragment."""
    try:
        parts = urlsplit(text)
        usable = parts.port != 0 and _HOST.fullmatch(parts.hostname or "") is not None
    except ValueError:
        return None
    if not usable or parts.scheme not in ("http", "https") or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    return parts


def is_value(text: str) -> bool:
    """Whether ``text`` is printable ASCII and so can be a header value unencoded."""
    return text.isascii() and text.isprintable()


def one_line(text: str) -> str:
    """``text`` on one line and without invisible characters (controls, direction marks, lone surrogates)."""
    seen = (" " if char in "\r\n\t\u2028\u2029" else char for char in text)
    return "".join(char for char in seen if unicodedata.category(char) not in ("Cc", "Cf", "Cs"))


def content_disposition(name: str) -> str:
    """RFC 6266: an ASCII fallback without quotes or escapes, and the visible characters of the name in UTF-8."""
    name = one_line(name)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^\w .()\[\]+=@,-]", "_", plain) or "export"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def retry_after_s(value: str | None, now: float, *, most_s: float) -> float | None:
    """``Retry-After`` (seconds or a date) in seconds, at most ``most_s``; None if it is missing or invalid."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}", value.strip(), re.ASCII):
        seconds = float(value)
    else:
        from email.utils import parsedate_to_datetime  # loads sockets and random numbers

        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), most_s)
