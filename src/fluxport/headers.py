"""Headers of HTTP that several rooms write or read."""

from __future__ import annotations

import re
import unicodedata
from email.utils import parsedate_to_datetime
from urllib.parse import quote


def content_disposition(name: str) -> str:
    """RFC 6266: an ASCII fallback without quotes or escapes, and the exact name in UTF-8."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^\w .()\[\]+=@,-]", "_", plain) or "export"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def retry_after_s(value: str | None, now: float, *, most_s: float) -> float | None:
    """``Retry-After`` in seconds or as a date, ``most_s`` at most; None if there is none or it makes no sense."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}", value.strip(), re.ASCII):
        seconds = float(value)
    else:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), most_s)
