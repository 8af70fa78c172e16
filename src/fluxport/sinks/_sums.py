"""Checksums: those of our own bytes, and what a store says of the bytes that it holds.

MD5 and the CRCs find damage, not forgery; all are computed in C (the CRCs by fastcrc, loaded when a store tells them).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple

from fluxport.errors import Unavailable


class Claim(NamedTuple):
    """What a store says of bytes that it holds: a digest of them, or (``parts``) the digest of their parts' digests.

    Not ``certain`` are ETags, which are MD5s only by custom: one that differs is a reason to look, not a proof.
    """

    name: str
    digest: bytes
    parts: bool = False
    certain: bool = True


class Block:
    """The bytes of one request, and their digests: each is computed when it is first asked for, if it is not ``known``
    already."""

    def __init__(self, data: bytes | memoryview, known: Mapping[str, bytes] | None = None) -> None:
        self.data = data
        self.by_md5 = False  # whether a signature that could hold its SHA-256 holds its MD5 instead
        self.digests: dict[str, bytes] = dict(known or {})

    def digest(self, name: str) -> bytes:
        found = self.digests.get(name)
        if found is None:
            found = self.digests[name] = _digest(name, self.data)
        return found

    def content_md5(self) -> dict[str, str]:
        """The header by which a store checks a body before it takes it."""
        return {"content-md5": base64.b64encode(self.digest("md5")).decode()} if self.data else {}


def _digest(name: str, data: bytes | memoryview) -> bytes:
    if name in _CRC_BYTES:
        return crc(name, data, None)
    return hashlib.new(name, data, usedforsecurity=False).digest()


_CRC_BYTES = {"crc64": 8, "crc32c": 4}


def crc(name: str, data: bytes | memoryview, before: bytes | None) -> bytes:
    """The CRC of all that ``before`` is the CRC of and of ``data``, big end first."""
    import fastcrc

    compute = fastcrc.crc64.xz if name == "crc64" else fastcrc.crc32.iscsi
    value = compute(data) if before is None else compute(data, int.from_bytes(before))
    return value.to_bytes(_CRC_BYTES[name])


def of_parts(name: str, digests: list[bytes]) -> bytes:
    """The digest of the parts' digests, as S3 makes it of a multipart upload."""
    return hashlib.new(name, b"".join(digests), usedforsecurity=False).digest()


def from_base64(name: str, text: str | None) -> Claim | None:
    """``text`` may end in the number of parts, as composite checksums of S3 do."""
    digest, _, parts = (text or "").partition("-")
    try:
        return Claim(name, base64.b64decode(digest, validate=True), bool(parts)) if digest else None
    except ValueError:
        return None


def from_etag(headers: Mapping[str, str]) -> Claim | None:
    """An ETag that looks like the MD5 of a file, or of its parts' MD5s."""
    found = re.fullmatch(r'"?([0-9a-fA-F]{32})(-\d+)?"?', headers.get("etag", ""))
    return found and Claim("md5", bytes.fromhex(found[1]), bool(found[2]), certain=False)


def differs(what: str) -> Unavailable:
    """Tried again, unlike a fault of ours: bytes that change on their way or at rest do so by chance."""
    return Unavailable(f"{what}; the file was removed, try again or look at the store.", code="store_differs")
