"""Checksums: of our own bytes, and as reported by a store for the stored bytes.

MD5 and the CRCs detect damage, not forgery; all are computed in C (the CRCs by fastcrc, loaded if a store reports one).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple

from fluxport.errors import Unavailable


class Claim(NamedTuple):
    """The digest that a store reports for stored bytes, or (``parts``) the digest of their parts' digests.

    ETags are not ``certain``: they are MD5s only by convention, so a mismatch calls for a check but proves nothing.
    """

    name: str
    digest: bytes
    parts: bool = False
    certain: bool = True


class Block:
    """The bytes of one request, and their digests, each computed on first use unless it is already ``known``."""

    def __init__(self, data: bytes | memoryview, known: Mapping[str, bytes] | None = None) -> None:
        self.data = data
        self.by_md5 = False  # whether a signature that could cover its SHA-256 covers its MD5 instead
        self.digests: dict[str, bytes] = dict(known or {})

    def digest(self, name: str) -> bytes:
        value = self.digests.get(name)
        if value is None:
            value = self.digests[name] = _digest(name, self.data)
        return value

    def content_md5(self) -> dict[str, str]:
        """The header by which a store checks a body before it accepts it."""
        return {"content-md5": base64.b64encode(self.digest("md5")).decode()} if self.data else {}


def _digest(name: str, data: bytes | memoryview) -> bytes:
    if name in _CRC_BYTES:
        return crc(name, data, None)
    return hashlib.new(name, data, usedforsecurity=False).digest()


_CRC_BYTES = {"crc64": 8, "crc32c": 4}


def crc(name: str, data: bytes | memoryview, before: bytes | None) -> bytes:
    """The big-endian CRC of the bytes whose CRC is ``before``, followed by ``data``."""
    import fastcrc

    compute = fastcrc.crc64.xz if name == "crc64" else fastcrc.crc32.iscsi
    value = compute(data) if before is None else compute(data, int.from_bytes(before))
    return value.to_bytes(_CRC_BYTES[name])


def of_parts(name: str, digests: list[bytes]) -> bytes:
    """The digest of the parts' digests, as S3 computes it for a multipart upload."""
    return hashlib.new(name, b"".join(digests), usedforsecurity=False).digest()


def from_base64(name: str, text: str | None) -> Claim | None:
    """The claim in a header; ``text`` may end in the number of parts, as composite checksums of S3 do."""
    digest, _, parts = (text or "").partition("-")
    try:
        return Claim(name, base64.b64decode(digest, validate=True), bool(parts)) if digest else None
    except ValueError:
        return None


def from_etag(headers: Mapping[str, str]) -> Claim | None:
    """The claim in an ETag that looks like the MD5 of a file, or of its parts' MD5s."""
    match = re.fullmatch(r'"?([0-9a-fA-F]{32})(-\d+)?"?', headers.get("etag", ""))
    return match and Claim("md5", bytes.fromhex(match[1]), bool(match[2]), certain=False)


def differs(what: str) -> Unavailable:
    """A retryable error: bytes are damaged in transit or at rest by chance, not by a fault in our code."""
    return Unavailable(f"{what}; the file was removed; try again, or check the store.", code="store_differs")
