"""Objects in Google Cloud Storage by its XML API, whose multipart uploads match those of S3.

Requests are signed with an HMAC key (V4) if there is one; else they carry a token of Google's own credentials: a
service account's key, workload identity, or the machine's account. The same credentials sign presigned URLs.
"""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlsplit

from fluxport.errors import FluxportError, Refused, Unavailable
from fluxport.settings import setting
from fluxport.sinks._rest import Place, Request, RestApi, log
from fluxport.sinks._sigv4 import GOOGLE, Credentials, google_hmac_query, google_presigned_query, signed_headers
from fluxport.sinks._sums import Claim, from_base64
from fluxport.sinks.object_options import KeyedOptions
from fluxport.sinks.objects import SHA256, Marks, ObjectSink, refused

ENDPOINT = "https://storage.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
IAM_SCOPE = "https://www.googleapis.com/auth/iam"


@dataclass(frozen=True, kw_only=True)
class GcsOptions(KeyedOptions):
    """``endpoint`` with http is an emulator's; without credentials, its requests are unsigned."""

    environ: ClassVar[Mapping[str, str]] = {
        "GCS_BUCKET": "bucket",
        "GOOGLE_APPLICATION_CREDENTIALS": "credentials_file",
    }

    type: Literal["gcs"] = "gcs"
    credentials_file: Path | None = setting(None, description="service account key or workload identity, JSON")


class GcsSink(ObjectSink):
    def __init__(self, options: GcsOptions, *, overwrite: bool = False) -> None:
        super().__init__(GcsApi(options), options, overwrite=overwrite)


class GcsApi(RestApi):
    """Google's XML API; one call of the JSON API stores the SHA-256 of a large file as metadata."""

    prefix = "x-goog-"
    tagging = False
    crc: str | None = "crc32c"

    def __init__(self, options: GcsOptions) -> None:
        endpoint = options.endpoint or ENDPOINT
        defaults = {"storage-class": options.storage_class, "encryption-kms-key-name": options.kms_key_id}
        super().__init__(
            Place("gs", options.bucket, endpoint, options.public_endpoint or endpoint, path_style=True),
            options,
            defaults,
            {},
        )
        self._key: Credentials | None = None
        self._google: _Google | None = None
        if options.access_key_id and options.secret_access_key:
            self._key = Credentials(options.access_key_id, options.secret_access_key.value)
            self.hashed = True
        elif urlsplit(endpoint).scheme == "https" or options.credentials_file:
            self._google = _Google(options.credentials_file)

    def only_new(self) -> dict[str, str]:
        return {"x-goog-if-generation-match": "0"}

    def claim(self, headers: Mapping[str, str]) -> Claim | None:
        """For an object assembled from parts Google reports only the CRC."""
        hashes = dict(one.strip().split("=", 1) for one in headers.get("x-goog-hash", "").split(",") if "=" in one)
        return from_base64("md5", hashes.get("md5")) or from_base64("crc32c", hashes.get("crc32c"))

    def sign(self, request: Request) -> dict[str, str]:
        headers = {"host": request.host, **request.headers}
        if self._google is not None:
            return headers | {"authorization": f"Bearer {self._google.token()}"}
        if self._key is None:
            return headers
        sha256, now = request.payload_sha256, self._clock()
        return signed_headers(
            self._key, "auto", request.method, request.path, request.query, headers, sha256, now, GOOGLE
        )

    def sign_url(self, request: Request, expires_s: int) -> tuple[str, float]:
        if self._key is not None:
            query = google_hmac_query(self._key, request.host, request.path, request.query, expires_s, self._clock())
        else:
            google = self._google or _Google(None)
            query = google_presigned_query(
                google.account(), google.sign, request.host, request.path, request.query, expires_s, self._clock()
            )
        return query, expires_s

    def _tag(self, key: str, marks: Marks) -> None:
        if self._google is None or SHA256 not in marks:
            return
        google, body = self._google, json.dumps({"metadata": {SHA256: marks[SHA256]}}).encode()
        target = f"/storage/v1/b/{quote(self._place.bucket, safe='')}/o/{quote(key, safe='')}"
        headers = {"host": self._http.authority, "content-type": "application/json"}
        try:
            response = self._http.request(
                "PATCH", target, lambda: headers | {"authorization": f"Bearer {google.token()}"}, body
            )
            if response.status != 200:
                raise refused(self._http.host, response)
        except FluxportError as error:
            log.warning("an object got no SHA-256 metadata: %s", error.message)


class _Google:
    """Google's own credentials, loaded on first use and renewed by their library."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._credentials: Any = None

    def token(self) -> str:
        return str(self._fresh().token)

    def account(self) -> str:
        """The e-mail of the service account; Refused for a user's credentials, which cannot sign."""
        credentials = self._fresh()
        name = getattr(credentials, "service_account_email", None)
        if not name or "@" not in name:
            raise Refused(
                "These Google credentials cannot sign URLs: use a service account, an HMAC key, or links: service.",
                code="cannot_sign",
            )
        return str(name)

    def sign(self, text: bytes) -> bytes:
        """The signature of ``text`` by the account's own key, else by the IAM service."""
        credentials = self._fresh()
        try:
            from google.auth import iam
            from google.auth.transport.requests import Request as Transport
            from google.oauth2.service_account import Credentials as Account

            if isinstance(credentials, Account):
                return bytes(credentials.sign_bytes(text))
            return bytes(iam.Signer(Transport(), credentials, self.account()).sign(text))  # type: ignore[no-untyped-call]  # the library has no types there
        except Exception as error:  # the library's errors have no common base class for transient ones
            raise Unavailable(
                "Google's IAM service could not sign a URL; try again later.", code="cannot_sign", detail=str(error)
            ) from error

    def _fresh(self) -> Any:
        with self._lock:
            try:
                import google.auth
                from google.auth.exceptions import GoogleAuthError
                from google.auth.transport.requests import Request as Transport
            except ImportError:
                raise Refused(
                    "Google's credentials need its library: pip install 'fluxport[gcs]', or use an HMAC key "
                    "(access_key_id and secret_access_key).",
                    code="missing_extra",
                ) from None
            try:
                if self._credentials is None:
                    self._credentials = self._loaded(google.auth)
                if not self._credentials.valid:
                    self._credentials.refresh(Transport())
            except (GoogleAuthError, OSError, ValueError) as error:
                raise Refused(
                    "No working Google credentials: set credentials_file of the store or "
                    "GOOGLE_APPLICATION_CREDENTIALS, or give this machine a service account.",
                    code="no_credentials",
                    detail=str(error),
                ) from error
            return self._credentials

    def _loaded(self, auth: Any) -> Any:
        scopes = [SCOPE, IAM_SCOPE]
        if self._file is None:
            return auth.default(scopes=scopes)[0]
        with warnings.catch_warnings():
            # The library warns of untrusted files; this one comes from the operator.
            warnings.simplefilter("ignore", DeprecationWarning)
            return auth.load_credentials_from_file(str(self._file), scopes=scopes)[0]
