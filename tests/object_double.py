"""A small object store for tests, with the calls that OSS and Google's XML API share with S3. Signatures
are verified with the clouds' own libraries: :func:`oss_verifier` and :class:`GoogleIdentity`. Digests are computed from
the stored bytes, so that a double that holds others than it was sent reports it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import secrets
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import crcmod
import google_crc32c
from alibabacloud_oss_v2 import HttpRequest
from alibabacloud_oss_v2.credentials import StaticCredentialsProvider
from alibabacloud_oss_v2.signer import SignerV1, SignerV4
from alibabacloud_oss_v2.types import SigningContext

from own_servers import http_server

# As Alibaba's library computes it.
CRC64 = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, xorOut=0xFFFFFFFFFFFFFFFF)


@dataclass
class Request:
    """One request as the server received it; ``body`` is complete."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)


Verify = Callable[[Request, str, str], str | None]
"""The store's own code for what is wrong with a request's credentials (request, bucket, key), or None."""


@dataclass
class Stored:
    data: bytes
    headers: dict[str, str]
    parts: list[bytes] = field(default_factory=list)  # of a multipart upload
    summed: bool = False  # whether its parts came with checksums
    changed: float = field(default_factory=time.time)
    tags: bytes = b""


@dataclass
class Upload:
    key: str
    headers: dict[str, str]
    started: float
    parts: dict[int, bytes] = field(default_factory=dict)


class ObjectDouble:
    """Buckets exist once named. ``answers`` are sent to the next requests that ``fails`` picks, before they are
    handled; ``asked`` counts requests by method. Requests that ``damages`` picks are stored with one inverted bit. As
    S3 it supports checksums, ignores or refuses them (``sums``); ETags that are no MD5s are ``random``.
    """

    def __init__(self, prefix: str, verify: Verify) -> None:
        self.prefix = prefix
        self.verify = verify
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.answers: deque[tuple[int, dict[str, str], bytes]] = deque()
        self.fails: Callable[[Request], bool] = lambda request: True
        self.damages: Callable[[Request], bool] = lambda request: False
        self.sums: Literal["known", "ignored", "refused"] = "known"
        self.random_etags = False
        self.ranges = True  # or reads are of whole objects
        self.takes_unsigned = True  # bodies whose SHA-256 is not in the signature
        self.log: list[Request] = []
        self.lock = threading.Lock()
        self.endpoint = ""

    @contextlib.contextmanager
    def running(self, tls: ssl.SSLContext | None = None) -> Iterator[ObjectDouble]:
        """Listens on a free port while entered, with TLS if there is a context for it."""
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with contextlib.suppress(ConnectionError, TimeoutError):
                    super().handle_one_request()

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                given = {name.lower(): value for name, value in self.headers.items()}
                status, headers, content = double.answer(Request(self.command, self.path, given, body))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _any

            def log_message(self, *args: Any) -> None: ...

        with http_server(Handler, tls) as port:
            self.endpoint = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
            yield self

    # -- answers ---------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        with self.lock:
            self.log.append(request)
            if self.answers and self.fails(request):
                return self.answers.popleft()
            _, _, rest = request.path.partition("/")
            bucket, _, key = rest.partition("/")
            if code := self.verify(request, bucket, key):
                return _error(403, code)
            md5 = base64.b64encode(hashlib.md5(request.body).digest()).decode()
            if request.headers.get("content-md5", md5) != md5:
                return _error(400, "InvalidDigest")
            reported = request.headers.get("x-amz-content-sha256", "")
            if reported == "UNSIGNED-PAYLOAD" and request.body and not self.takes_unsigned:
                return _error(400, "InvalidRequest")
            if len(reported) == 64 and reported != hashlib.sha256(request.body).hexdigest():
                return _error(400, "XAmzContentSHA256Mismatch")
            if self.sums == "refused" and any(name.startswith("x-amz-checksum-") for name in request.headers):
                return _error(501, "NotImplemented")
            if rest.startswith("storage/v1/b/"):
                return self._patched(request, unquote(rest.rpartition("/o/")[2]))
            if not key:
                return self._listed(request.query)
            return self._object(request, key)

    def _object(self, request: Request, key: str) -> tuple[int, dict[str, str], bytes]:
        query = request.query
        match request.method:
            case "PUT" if "partNumber" in query:
                if (upload := self.uploads.get(query["uploadId"])) is None:
                    return _error(404, "NoSuchUpload")
                part = _damaged(request.body) if self.damages(request) else request.body
                upload.parts[int(query["partNumber"])] = part
                return 200, self._told(Stored(part, {}, summed=self._summed(request.headers))), b""
            case "PUT" if "tagging" in query:
                self.objects[key].tags = request.body
                return 200, {}, b""
            case "PUT":
                data = _damaged(request.body) if self.damages(request) else request.body
                return self._kept(request, key, Stored(data, request.headers, summed=self._summed(request.headers)))
            case "POST" if "uploads" in query:
                name = secrets.token_hex(16)
                self.uploads[name] = Upload(key, request.headers, time.time())
                promised = {k: v for k, v in request.headers.items() if k == "x-amz-checksum-algorithm"}
                return 200, promised if self._summed(promised) else {}, _xml("Initiated", UploadId=name)
            case "POST":
                if (upload := self.uploads.get(query["uploadId"])) is None:
                    return _error(404, "NoSuchUpload")
                named = [int(e.text or 0) for e in ElementTree.fromstring(request.body).iter("PartNumber")]
                parts = [upload.parts[n] for n in named]
                if self.damages(request):
                    parts[0] = _damaged(parts[0])
                summed = self._summed(upload.headers)
                if summed != (b"<ChecksumSHA256>" in request.body):
                    return _error(400, "InvalidPart")
                answer = self._kept(request, key, Stored(b"".join(parts), upload.headers, parts, summed))
                if answer[0] == 200:
                    del self.uploads[query["uploadId"]]
                    reported = answer[1] if self.prefix != "x-amz-" else {}  # S3 has it in the body
                    return 200, reported, _xml("CompleteMultipartUploadResult", Key=key)
                return answer
            case "DELETE" if "uploadId" in query:
                gone = self.uploads.pop(query["uploadId"], None)
                return _error(404, "NoSuchUpload") if gone is None else (204, {}, b"")
            case "DELETE":
                self.objects.pop(key, None)
                return 204, {}, b""
        return self._read(request, key)

    def _summed(self, headers: Mapping[str, str]) -> bool:
        return self.sums == "known" and any(name.startswith("x-amz-checksum-") for name in headers)

    def _told(self, stored: Stored) -> dict[str, str]:
        """The digests of the bytes in a response."""
        whole, parts = stored.data, stored.parts
        md5, sha256 = hashlib.md5(whole).digest(), hashlib.sha256(whole).digest()
        if self.prefix == "x-oss-":
            return {"ETag": f'"{md5.hex()}"', "x-oss-hash-crc64ecma": str(CRC64(whole))}
        crc32c = base64.b64encode(google_crc32c.value(whole).to_bytes(4)).decode()
        if self.prefix == "x-goog-":
            own = {} if parts else {"X-Goog-Hash": f"md5={base64.b64encode(md5).decode()}"}  # a header of its own
            return {"ETag": f'"{md5.hex()}"', "x-goog-hash": f"crc32c={crc32c}"} | own
        tail = f"-{len(parts)}" if parts else ""
        if parts:
            md5 = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).digest()
            sha256 = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
        if self.random_etags:
            md5 = hashlib.md5(b"salt" + md5).digest()
        reported = {k: v for k, v in stored.headers.items() if k == "x-amz-server-side-encryption"}
        reported["ETag"] = f'"{md5.hex()}{tail}"'
        return reported | ({"x-amz-checksum-sha256": base64.b64encode(sha256).decode() + tail} if stored.summed else {})

    def _kept(self, request: Request, key: str, stored: Stored) -> tuple[int, dict[str, str], bytes]:
        new = request.headers.get("x-oss-forbid-overwrite") == "true"
        if key in self.objects and (new or request.headers.get("x-goog-if-generation-match") == "0"):
            return _error(409 if new else 412, "FileAlreadyExists" if new else "PreconditionFailed")
        self.objects[key] = stored
        return 200, self._told(stored), b""

    def _read(self, request: Request, key: str) -> tuple[int, dict[str, str], bytes]:
        if (found := self.objects.get(key)) is None:
            return _error(404, "NoSuchKey")
        marks = {k: v for k, v in found.headers.items() if k.startswith(f"{self.prefix}meta-")}
        headers = marks | {
            "Content-Type": request.query.get("response-content-type", found.headers.get("content-type", "")),
            "Content-Disposition": request.query.get(
                "response-content-disposition", found.headers.get("content-disposition", "")
            ),
            "Last-Modified": formatdate(found.changed, usegmt=True),
            **self._told(found),
        }
        if request.headers.get("x-amz-checksum-mode") != "ENABLED":
            headers.pop("x-amz-checksum-sha256", None)
        if request.headers.get("if-match", headers["ETag"]) != headers["ETag"]:
            return _error(412, "PreconditionFailed")
        data, status = found.data, 200
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", "")) if self.ranges else None:
            data, status = data[int(wanted[1]) : int(wanted[2]) + 1], 206
            headers["Content-Range"] = f"bytes {wanted[1]}-{wanted[2]}/{len(found.data)}"
        if request.method == "HEAD":
            headers["Content-Length"] = str(len(data))
        return status, headers, data

    def _listed(self, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        prefix = query.get("prefix", "")
        if "uploads" in query:
            found = "".join(
                f"<Upload><Key>{escape(u.key)}</Key><UploadId>{name}</UploadId>"
                f"<Initiated>{_iso(u.started)}</Initiated></Upload>"
                for name, u in sorted(self.uploads.items(), key=lambda item: item[1].key)
                if u.key.startswith(prefix)
            )
            return 200, {}, _wrapped("ListMultipartUploadsResult", found)
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{_iso(stored.changed)}</LastModified></Contents>"
            for key, stored in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return 200, {}, _wrapped("ListBucketResult", found)

    def _patched(self, request: Request, key: str) -> tuple[int, dict[str, str], bytes]:
        for name, value in json.loads(request.body)["metadata"].items():
            self.objects[key].headers[f"{self.prefix}meta-{name}"] = value
        return 200, {}, b"{}"


def _damaged(data: bytes) -> bytes:
    """The same with one inverted bit."""
    return data[:-1] + bytes([data[-1] ^ 1])


def _xml(root: str, **fields: str) -> bytes:
    return _wrapped(root, "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items()))


def _wrapped(root: str, inner: str) -> bytes:
    return f'<?xml version="1.0"?><{root}>{inner}<IsTruncated>false</IsTruncated></{root}>'.encode()


def _error(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    return status, {}, f"<Error><Code>{code}</Code></Error>".encode()


def _iso(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# -- who signs -----------------------------------------------------------------------------------------------------


def oss_verifier(key_id: str, secret: str, region: str, token: str | None = None) -> Verify:
    """Signs each request once more with Alibaba's library, as its time and form say, and compares."""
    provider = StaticCredentialsProvider(key_id, secret, token)

    def verify(request: Request, bucket: str, key: str) -> str | None:
        query = request.query
        in_query = "x-oss-signature" in query or "Signature" in query
        v4 = "x-oss-signature" in query or request.headers.get("authorization", "").startswith("OSS4")
        context = SigningContext(product="oss", region=region, bucket=bucket, key=key)
        context.credentials = provider.get_credentials()
        context.sub_resource = [name for name in query if name.startswith("response-")]
        context.auth_method_query = in_query
        given = urlsplit(request.target)
        retained = [p for p in given.query.split("&") if p.partition("=")[0] not in ("x-oss-signature", "Signature")]
        headers = {k: v for k, v in request.headers.items() if k.startswith("x-oss-") or k.startswith("content-")}
        context.request = HttpRequest(
            request.method, given._replace(query="&".join(retained)).geturl(), headers=headers
        )
        try:
            now = datetime.now(UTC)
            if v4:
                moment = query.get("x-oss-date") or request.headers["x-oss-date"]
                context.signing_time = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                lasts = int(query.get("x-oss-expires", "900"))
                context.expiration_time = context.signing_time + timedelta(seconds=lasts)
                if lasts > 604_800 or (not in_query and abs(now - context.signing_time) > timedelta(minutes=15)):
                    return "RequestTimeTooSkewed"
            elif in_query:
                context.signing_time = now
                context.expiration_time = datetime.fromtimestamp(int(query["Expires"]), UTC)
            else:
                context.signing_time = parsedate_to_datetime(request.headers["date"])
            if in_query and context.expiration_time < now:
                return "AccessDenied"
        except (KeyError, ValueError):
            return "AccessDenied"
        (SignerV4() if v4 else SignerV1()).sign(context)
        if in_query:
            name = "x-oss-signature" if v4 else "Signature"
            right = dict(parse_qsl(urlsplit(context.request.url).query))[name]
            return None if query[name] == right else "SignatureDoesNotMatch"
        right = context.request.headers["Authorization"]
        return None if request.headers.get("authorization") == right else "SignatureDoesNotMatch"

    return verify


class GoogleIdentity:
    """A service account with a generated key: its token endpoint accepts what Google's library signs, and buckets
    accept the tokens that it issued, and URLs that Google's library would sign the same."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import rsa

        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.email = "exports@fluxport-test.iam.gserviceaccount.com"
        self.tokens: set[str] = set()
        self.token_url = ""

    def account(self, token_url: str) -> dict[str, str]:
        """The content of a key file."""
        from cryptography.hazmat.primitives import serialization as form

        pem = self.key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()
        return {
            "type": "service_account",
            "client_email": self.email,
            "private_key": pem,
            "private_key_id": "1",
            "token_uri": token_url,
        }

    def verify(self, request: Request, bucket: str, key: str) -> str | None:
        if "X-Goog-Signature" in request.query:
            return None if request.query["X-Goog-Signature"] == self._signature(request) else "SignatureDoesNotMatch"
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return None if kind == "Bearer" and token in self.tokens else "AccessDenied"

    def _signature(self, request: Request) -> str:
        from google.cloud.storage import _signing
        from google.oauth2 import service_account

        query = request.query
        with_key = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]  # the library has no types there
            self.account("http://unused")
        )
        own = {k: v for k, v in query.items() if not k.startswith("X-Goog-")}
        url = _signing.generate_signed_url_v4(
            with_key,
            resource=urlsplit(request.target).path,
            expiration=int(query["X-Goog-Expires"]),
            api_access_endpoint=f"http://{request.headers['host']}",
            query_parameters=own,
            _request_timestamp=query["X-Goog-Date"],
        )
        return str(dict(parse_qsl(urlsplit(url).query))["X-Goog-Signature"])

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """The URL of the token endpoint."""
        identity = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                identity.check(body["assertion"])
                token = secrets.token_urlsafe(24)
                identity.tokens.add(token)
                content = json.dumps({"access_token": token, "expires_in": 3600, "token_type": "Bearer"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None: ...

        with http_server(Handler) as port:
            yield f"http://127.0.0.1:{port}/token"

    def check(self, assertion: str) -> None:
        """Raises if the assertion is not signed by the account's key."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        signed, _, signature = assertion.rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        self.key.public_key().verify(raw, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
