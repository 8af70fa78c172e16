"""Generates secrets, and detects weak ones."""

from __future__ import annotations

import secrets
from itertools import pairwise

BYTES_MIN = 32
_DISTINCT_MIN = 8  # 32 random hex digits have fewer distinct ones about once in 20 million
_PLACEHOLDERS = ("devsecret", "changeme", "change-me", "change_me", "your-secret", "your_secret", "password", "example")


def new_secret() -> str:
    """A new secret of 256 random bits: 43 characters that need no quoting in URLs, headers, YAML or a shell."""
    return secrets.token_urlsafe(32)


def weakness(secret: str) -> str | None:
    """Why production must not start with ``secret``, as the end of the sentence "the secret ..."; None if it may.

    This detects typed and placeholder secrets; no test can show that a secret is random.
    """
    if any(word in secret.lower() for word in _PLACEHOLDERS):
        return "contains a placeholder word"
    if (size := len(secret.encode())) < BYTES_MIN:
        return f"is {size} bytes long; the minimum is {BYTES_MIN}"
    if len(set(secret)) < _DISTINCT_MIN:
        return f"has fewer than {_DISTINCT_MIN} different characters"
    if any(secret[period:] == secret[:-period] for period in range(1, len(secret) // 2 + 1)):
        return "repeats itself"
    steps = [abs(ord(b) - ord(a)) <= 1 for a, b in pairwise(secret)]
    if sum(steps) > len(steps) // 2:
        return "is a sequence of adjacent characters"
    return None
