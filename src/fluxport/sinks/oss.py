"""Objects in Alibaba Cloud OSS by its own protocol: signature V4, or V1 for private clouds that support no other.

Requests carry the MD5 of their body, which the store checks before it accepts a part; the signature does not cover the
body. Responses report the CRC64 of the stored bytes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlsplit

from fluxport.errors import Refused, Unavailable
from fluxport.settings import Secret, setting
from fluxport.sinks._http import Http
from fluxport.sinks._rest import Place, Request, RestApi
from fluxport.sinks._sigv4 import UNSIGNED as _UNSIGNED
from fluxport.sinks._sigv4 import Credentials, Query
from fluxport.sinks._sums import Claim, from_etag
from fluxport.sinks.object_options import HttpOptions, KeyedOptions
from fluxport.sinks.objects import ObjectSink
from fluxport.sinks.options import secret, value_of

_V4 = "OSS4-HMAC-SHA256"
# The query parameters that V1 signs; all others are omitted.
_V1_SIGNED = frozenset({"uploads", "uploadId", "partNumber", "tagging", "security-token", "continuation-token"})
METADATA = "http://100.100.100.200"  # metadata service of Alibaba's machines
RENEWED_S = 300.0


@dataclass(frozen=True, kw_only=True)
class OssOptions(KeyedOptions):
    """Fluxport connects to ``endpoint``, an ``-internal`` one inside the cloud; presigned URLs use ``public_endpoint``,
    by default the same host without ``-internal``. Without a key, credentials come from the machine's RAM role."""

    environ: ClassVar[Mapping[str, str]] = {
        "OSS_BUCKET": "bucket",
        "OSS_ENDPOINT": "endpoint",
        "OSS_ACCESS_KEY_ID": "access_key_id",
        "OSS_ACCESS_KEY_SECRET": "secret_access_key",
        "OSS_SESSION_TOKEN": "session_token",
        "OSS_REGION": "region",
    }

    type: Literal["oss"] = "oss"
    region: str | None = setting(None, description="the bucket's region; default: that of the endpoint")
    path_style: bool | None = setting(None, description="the bucket is part of the path; default: at an IP address")
    session_token: Secret | None = setting(None, description="the token of temporary keys (STS)")
    signature: Literal["v4", "v1"] = setting("v4", description="v1 only for old private clouds")
    encryption: str | None = setting(None, description="AES256, KMS or SM4; default: the bucket's")
    tags: dict[str, str] = setting({}, max_length=9, description="tags of every object")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.endpoint or self.region):
            raise ValueError("a store of type oss needs an 'endpoint' or a 'region'")

    def completed(self, environ: Mapping[str, str]) -> OssOptions:
        """These settings, with the key from the environment."""
        if self.access_key_id is not None:
            return self
        key, value = environ.get("OSS_ACCESS_KEY_ID"), environ.get("OSS_ACCESS_KEY_SECRET")
        if not key or not value:
            return self
        token = self.session_token or secret(environ.get("OSS_SESSION_TOKEN"))
        return replace(self, access_key_id=key, secret_access_key=Secret(value), session_token=token)


class OssSink(ObjectSink):
    """``metadata`` is the address of the metadata service, which returns the credentials of the machine's role."""

    def __init__(self, options: OssOptions, *, overwrite: bool = False, metadata: str = METADATA) -> None:
        super().__init__(OssApi(options, metadata), options, overwrite=overwrite)


class OssApi(RestApi):
    """The REST API of OSS."""

    prefix = "x-oss-"
    crc: str | None = "crc64"

    def __init__(self, options: OssOptions, metadata: str = METADATA) -> None:
        endpoint = _with_scheme(options.endpoint or f"oss-{options.region}.aliyuncs.com")
        public = options.public_endpoint or endpoint.replace("-internal.aliyuncs.com", ".aliyuncs.com")
        defaults = {
            "storage-class": options.storage_class,
            "server-side-encryption": options.encryption,
            "server-side-encryption-key-id": options.kms_key_id,
        }
        path_style = bool(options.path_style) or _is_address(urlsplit(endpoint).hostname or "")
        place = Place("oss", options.bucket, endpoint, _with_scheme(public), path_style)
        super().__init__(place, options, defaults, options.tags)
        self._region = options.region or _region_of(endpoint)
        self._v4 = options.signature == "v4"
        self._credentials = _credentials(options, metadata)
        if self._v4 and self._region is None:
            raise Refused(
                f"The region of the endpoint {endpoint} is unknown: set the store's region, such as cn-hangzhou.",
                code="bad_configuration",
            )

    @staticmethod
    def query_text(query: Query) -> str:
        return _query(query)

    def only_new(self) -> dict[str, str]:
        return {"x-oss-forbid-overwrite": "true"}

    def claim(self, headers: Mapping[str, str]) -> Claim | None:
        value = headers.get("x-oss-hash-crc64ecma", "")
        if value.isascii() and value.isdigit() and int(value) < 1 << 64:
            return Claim("crc64", int(value).to_bytes(8))
        return from_etag(headers)

    def sign(self, request: Request) -> dict[str, str]:
        credentials = self._credentials()
        headers = {"host": request.host, **request.headers}
        return (
            self._sign_v4(credentials, request, headers)
            if self._v4
            else _sign_v1(credentials, request, headers, self._clock())
        )

    def _sign_v4(self, credentials: Credentials, request: Request, headers: dict[str, str]) -> dict[str, str]:
        timestamp = _timestamp(self._clock())
        headers |= {"x-oss-date": timestamp, "x-oss-content-sha256": _UNSIGNED}
        if credentials.session_token is not None:
            headers["x-oss-security-token"] = credentials.session_token
        scope, signature = self._signature(credentials, request, request.query, headers, timestamp)
        headers["authorization"] = f"{_V4} Credential={credentials.access_key_id}/{scope},Signature={signature}"
        return headers

    def _signature(
        self, credentials: Credentials, request: Request, query: Query, headers: Mapping[str, str], timestamp: str
    ) -> tuple[str, str]:
        path = quote(f"/{request.bucket}/{request.key}", safe="/")
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if _is_signed(name))
        canonical = "\n".join([request.method, path, _query(query), lines, "", _UNSIGNED])
        scope = self._scope(timestamp)
        text = "\n".join([_V4, timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = b"aliyun_v4" + credentials.secret_access_key.encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), "sha256").digest()
        return scope, hmac.new(key, text.encode(), "sha256").hexdigest()

    def _scope(self, timestamp: str) -> str:
        return f"{timestamp[:8]}/{self._region}/oss/aliyun_v4_request"

    def sign_url(self, request: Request, expires_s: int) -> tuple[str, float]:
        credentials, now = self._credentials(), self._clock()
        works_s = expires_s if credentials.expires_at is None else min(expires_s, credentials.expires_at - now)
        if not self._v4:
            return _signed_url_v1(credentials, request, int(now) + expires_s), works_s
        timestamp = _timestamp(now)
        query = [
            *request.query,
            ("x-oss-signature-version", _V4),
            ("x-oss-date", timestamp),
            ("x-oss-expires", str(expires_s)),
            ("x-oss-credential", f"{credentials.access_key_id}/{self._scope(timestamp)}"),
        ]
        if credentials.session_token is not None:
            query.append(("x-oss-security-token", credentials.session_token))
        _, signature = self._signature(credentials, request, query, {}, timestamp)
        return f"{_query(query)}&x-oss-signature={signature}", works_s


def _is_signed(name: str) -> bool:
    return name.startswith("x-oss-") or name in ("content-type", "content-md5")


def _query(query: Query) -> str:
    """The query, sorted and encoded; a name without a value has no equals sign."""
    pairs = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in query)
    return "&".join(f"{name}={value}" if value else name for name, value in pairs)


def _timestamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")


def _sign_v1(credentials: Credentials, request: Request, headers: dict[str, str], now: float) -> dict[str, str]:
    headers["date"] = formatdate(now, usegmt=True)
    if credentials.session_token is not None:
        headers["x-oss-security-token"] = credentials.session_token
    own = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-oss-"))
    fixed = [headers.get("content-md5", ""), headers.get("content-type", ""), headers["date"]]
    text = "\n".join([request.method, *fixed, own + _v1_resource(request, request.query)])
    headers["authorization"] = f"OSS {credentials.access_key_id}:{_hmac_sha1(credentials, text)}"
    return headers


def _signed_url_v1(credentials: Credentials, request: Request, until: int) -> str:
    query = [*request.query]
    if credentials.session_token is not None:
        query.append(("security-token", credentials.session_token))
    text = "\n".join([request.method, "", "", str(until), _v1_resource(request, query)])
    signed = [
        *query,
        ("OSSAccessKeyId", credentials.access_key_id),
        ("Expires", str(until)),
        ("Signature", _hmac_sha1(credentials, text)),
    ]
    return _query(signed)


def _v1_resource(request: Request, query: Query) -> str:
    signed = sorted((k, v) for k, v in query if k in _V1_SIGNED or k.startswith("response-"))
    text = "&".join(f"{name}={value}" if value else name for name, value in signed)
    return f"/{request.bucket}/{request.key}" + (f"?{text}" if text else "")


def _hmac_sha1(credentials: Credentials, text: str) -> str:
    digest = hmac.new(credentials.secret_access_key.encode(), text.encode(), "sha1").digest()
    return base64.b64encode(digest).decode()


def _with_scheme(endpoint: str) -> str:
    return endpoint if "://" in endpoint else f"https://{endpoint}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _region_of(endpoint: str) -> str | None:
    match = re.search(r"oss-([a-z0-9-]+?)(-internal)?\.aliyuncs\.com", endpoint)
    return match[1] if match else None


def _credentials(options: OssOptions, metadata: str) -> Callable[[], Credentials]:
    if options.access_key_id and options.secret_access_key:
        token = value_of(options.session_token)
        credentials = Credentials(options.access_key_id, options.secret_access_key.value, token)
        return lambda: credentials
    return _Role(Http(metadata, HttpOptions(connect_timeout_s=2.0, timeout_s=5.0, tries_max=2))).current


class _Role:
    """Credentials of the machine's RAM role, renewed before they expire."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._lock = threading.Lock()
        self._current: Credentials | None = None

    def current(self) -> Credentials:
        with self._lock:
            current = self._current
            if current is None or (current.expires_at or 0) < time.time() + RENEWED_S:
                current = self._current = self._request()
            return current

    def _request(self) -> Credentials:
        path = "/latest/meta-data/ram/security-credentials/"
        try:
            role = self._get(path).decode().strip()
            response: dict[str, Any] = json.loads(self._get(path + quote(role)))
            expires = datetime.fromisoformat(response["Expiration"].replace("Z", "+00:00")).timestamp()
            return Credentials(response["AccessKeyId"], response["AccessKeySecret"], response["SecurityToken"], expires)
        except (Unavailable, ValueError, KeyError, TypeError) as error:
            raise Refused(
                "There are no OSS credentials: set access_key_id and secret_access_key of the store, or "
                "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or give this machine a RAM role.",
                code="no_credentials",
            ) from error

    def _get(self, path: str) -> bytes:
        headers = {"host": self._http.authority}
        version2 = self._http.request(
            "PUT", "/latest/api/token", lambda: {**headers, "X-aliyun-ecs-metadata-token-ttl-seconds": "300"}
        )
        if version2.status == 200:
            headers["X-aliyun-ecs-metadata-token"] = version2.body.decode()
        response = self._http.request("GET", path, lambda: headers)
        if response.status != 200:
            raise Unavailable("The machine has no RAM role.", code="no_credentials")
        return response.body
