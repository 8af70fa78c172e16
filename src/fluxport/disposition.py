"""The one place that makes a ``Content-Disposition``."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote


def content_disposition(name: str) -> str:
    """RFC 6266: an ASCII fallback without quotes or escapes, and the exact name in UTF-8."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^\w .()\[\]+=@,-]", "_", plain) or "export"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
