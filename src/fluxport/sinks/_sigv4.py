"""AWS Signature Version 4 as pure functions: the headers of a request, or the query of a presigned URL; and Google's
V4, which differs only in names.

The rules are those of "Create a signed AWS API request" in the IAM user guide; for S3 the path is not normalised, and
encoded once. The clock is an argument::

    canonical  method, path, sorted query, signed headers, their names, SHA-256 of the body     one per line
    to sign    algorithm, timestamp, scope (date/region/service/aws4_request), SHA-256 of canonical
    key        HMAC chain: "AWS4" + secret -> date -> region -> service -> "aws4_request"
    signature  HMAC of "to sign", in hex
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import quote

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class Names:
    """The names in a signature: the prefix of the key, and those of the scope, the headers and the query."""

    algorithm: str
    key: bytes
    service: str
    end: str
    header: str
    query: str


AWS = Names("AWS4-HMAC-SHA256", b"AWS4", "s3", "aws4_request", "x-amz-", "X-Amz-")
GOOGLE = Names("GOOG4-HMAC-SHA256", b"GOOG4", "storage", "goog4_request", "x-goog-", "X-Goog-")


@dataclass(frozen=True)
class Credentials:
    """``expires_at`` (Unix time): when temporary credentials expire, and with them every URL signed by them."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None


Query = Sequence[tuple[str, str]]


def encoded_path(path: str) -> str:
    return quote(path, safe="/~")


def encoded_query(query: Query) -> str:
    """The query in the canonical order and encoding that both sides sign."""
    return "&".join(f"{quote(key, safe='~')}={quote(value, safe='~')}" for key, value in sorted(query))


def signed_headers(  # noqa: PLR0913, PLR0917  the inputs of a signature
    credentials: Credentials,
    region: str,
    method: str,
    path: str,
    query: Query,
    headers: Mapping[str, str],
    payload_sha256: str,
    now: float,
    names: Names = AWS,
) -> dict[str, str]:
    """``headers`` (including Host, in lower case) and those of the signature; ``path`` is already encoded."""
    timestamp = _timestamp(now)
    signed = {
        **headers,
        f"{names.header}date": timestamp,
        f"{names.header}content-sha256": payload_sha256,
    }
    if credentials.session_token is not None:
        signed[f"{names.header}security-token"] = credentials.session_token
    listed = ";".join(sorted(signed))
    lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed))
    canonical = "\n".join([method, path, encoded_query(query), lines, listed, payload_sha256])
    scope = _scope(region, timestamp, names)
    signature = _hmac(credentials, scope, _to_sign(scope, timestamp, canonical, names), names)
    return {
        **signed,
        "authorization": f"{names.algorithm} Credential={credentials.access_key_id}/{scope}, "
        f"SignedHeaders={listed}, Signature={signature}",
    }


def presigned_query(
    credentials: Credentials, region: str, host: str, path: str, query: Query, expires_s: int, now: float
) -> str:
    """The query of a URL for GET that is valid for ``expires_s`` from ``now``."""
    more = [] if credentials.session_token is None else [("X-Amz-Security-Token", credentials.session_token)]
    signer, scope, timestamp = credentials.access_key_id, _scope(region, _timestamp(now), AWS), _timestamp(now)
    text, to_sign = query_to_sign(signer, scope, host, path, [*query, *more], expires_s, timestamp, AWS)
    return f"{text}&X-Amz-Signature={_hmac(credentials, scope, to_sign, AWS)}"


def query_to_sign(
    signer: str, scope: str, host: str, path: str, query: Query, expires_s: int, timestamp: str, names: Names
) -> tuple[str, str]:
    """The query of a URL for GET without its signature, and the text to sign."""
    whole = [
        *query,
        (f"{names.query}Algorithm", names.algorithm),
        (f"{names.query}Credential", f"{signer}/{scope}"),
        (f"{names.query}Date", timestamp),
        (f"{names.query}Expires", str(expires_s)),
        (f"{names.query}SignedHeaders", "host"),
    ]
    text = encoded_query(whole)
    canonical = "\n".join(["GET", path, text, f"host:{host}\n", "host", UNSIGNED])
    return text, _to_sign(scope, timestamp, canonical, names)


def google_scope(timestamp: str) -> str:
    return _scope("auto", timestamp, GOOGLE)


def google_presigned_query(
    signer: str, sign: Callable[[bytes], bytes], host: str, path: str, query: Query, expires_s: int, now: float
) -> str:
    """The same for Google, signed by the RSA key of the service account ``signer``."""
    names, timestamp = replace(GOOGLE, algorithm="GOOG4-RSA-SHA256"), _timestamp(now)
    text, to_sign = query_to_sign(signer, google_scope(timestamp), host, path, query, expires_s, timestamp, names)
    return f"{text}&X-Goog-Signature={sign(to_sign.encode()).hex()}"


def google_hmac_query(credentials: Credentials, host: str, path: str, query: Query, expires_s: int, now: float) -> str:
    """The same for Google, signed by an HMAC key."""
    timestamp = _timestamp(now)
    scope = google_scope(timestamp)
    text, to_sign = query_to_sign(credentials.access_key_id, scope, host, path, query, expires_s, timestamp, GOOGLE)
    return f"{text}&X-Goog-Signature={_hmac(credentials, scope, to_sign, GOOGLE)}"


def _timestamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")


def _scope(region: str, timestamp: str, names: Names) -> str:
    return f"{timestamp[:8]}/{region}/{names.service}/{names.end}"


def _to_sign(scope: str, timestamp: str, canonical: str, names: Names) -> str:
    return "\n".join([names.algorithm, timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])


def _hmac(credentials: Credentials, scope: str, text: str, names: Names) -> str:
    key = names.key + credentials.secret_access_key.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return hmac.new(key, text.encode(), "sha256").hexdigest()
