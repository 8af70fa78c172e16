"""Objects in S3 and compatible stores: Ceph, MinIO, Cloudflare R2, Wasabi and others.

Every request carries the SHA-256 of its body: in its signature, which the store checks before it accepts the body, and
as a checksum header, which the store saves and reports. A server that rejects checksum headers gets requests without
them; parts then carry their MD5 instead, which the signature covers.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeVar

from fluxport.errors import Refused
from fluxport.outbound import Cancel
from fluxport.settings import Secret, setting
from fluxport.sinks._http import Response
from fluxport.sinks._rest import Place, Request, RestApi
from fluxport.sinks._sigv4 import Credentials, presigned_query, signed_headers
from fluxport.sinks._sums import Block, Claim, from_base64, from_etag
from fluxport.sinks.object_options import KeyedOptions
from fluxport.sinks.objects import SHA256, Head, Marks, ObjectSink, Part
from fluxport.sinks.options import secret, value_of
from fluxport.stages import About

T = TypeVar("T")

CHECKSUM = "x-amz-checksum-sha256"
ALGORITHM = "x-amz-checksum-algorithm"
# Error codes for an unknown header; Amazon itself requires kms:Decrypt to report a checksum.
_NOT_KNOWN = ("store_refused", "store_denied")


@dataclass(frozen=True, kw_only=True)
class S3Options(KeyedOptions):
    """Without ``endpoint`` the store is Amazon's in the region, where the bucket is part of the host name; elsewhere it
    is part of the path, unless ``path_style`` is false."""

    environ: ClassVar[Mapping[str, str]] = {
        "S3_BUCKET": "bucket",
        "S3_ENDPOINT": "endpoint",
        "S3_PATH_STYLE": "path_style",
        "AWS_REGION": "region",
        "S3_ACCESS_KEY": "access_key_id",
        "S3_SECRET_KEY": "secret_access_key",
    }

    type: Literal["s3"] = "s3"
    region: str | None = setting(None, description="the bucket's region; default: us-east-1, or AWS_REGION")
    path_style: bool | None = setting(
        None, description="the bucket is part of the path; default: at an endpoint of your own"
    )
    session_token: Secret | None = setting(None, description="the token of temporary keys (STS)")
    profile: str | None = setting(None, description="the profile in ~/.aws with the credentials")
    encryption: str | None = setting(None, description="AES256, aws:kms or aws:kms:dsse; default: the bucket's")
    tags: dict[str, str] = setting({}, max_length=9, description="tags of every object")

    def completed(self, environ: Mapping[str, str]) -> S3Options:
        """These settings, with region, endpoint and key from the environment variables of Amazon's own tools."""
        region = self.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        endpoint = self.endpoint or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None
        settings = replace(self, region=region, endpoint=endpoint)
        key, value = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        if self.access_key_id is not None or self.profile is not None or not key or not value:
            return settings
        token = secret(environ.get("AWS_SESSION_TOKEN"))
        return replace(settings, access_key_id=key, secret_access_key=Secret(value), session_token=token)


class S3Sink(ObjectSink):
    def __init__(self, options: S3Options, *, overwrite: bool = False) -> None:
        super().__init__(S3Api(options), options, overwrite=overwrite)


class S3Api(RestApi):
    """The REST API of S3, signature version 4."""

    prefix = "x-amz-"
    hashed = True

    def __init__(self, options: S3Options) -> None:
        region = options.region or "us-east-1"
        endpoint = options.endpoint or f"https://s3.{region}.amazonaws.com"
        path_style = options.path_style
        if path_style is None:
            path_style = options.endpoint is not None or "." in options.bucket  # certificates cover no further dot
        defaults = {
            "storage-class": options.storage_class,
            "server-side-encryption": options.encryption,
            "server-side-encryption-aws-kms-key-id": options.kms_key_id,
        }
        place = Place("s3", options.bucket, endpoint, options.public_endpoint or endpoint, path_style)
        super().__init__(place, options, defaults, options.tags)
        self._credentials = _credentials(options)
        self._region = region
        self._sums = True  # whether the server accepts checksum headers
        self._summed: set[str] = set()  # uploads whose parts have checksums
        self._by_md5 = True  # whether the server accepts parts whose signature covers only their MD5

    # -- checksums -------------------------------------------------------------------------------------------------

    def checked(self, block: Block) -> dict[str, str]:
        return block.content_md5() if block.by_md5 else {}

    def claim(self, headers: Mapping[str, str]) -> Claim | None:
        if (reported := from_base64(SHA256, headers.get(CHECKSUM))) is not None:
            return reported
        own_key = "x-amz-server-side-encryption-customer-algorithm" in headers
        if own_key or headers.get("x-amz-server-side-encryption", "").startswith("aws:kms"):
            return None  # the ETag is not an MD5 then
        return from_etag(headers)

    def put(self, key: str, block: Block, about: About, marks: Marks, *, new: bool) -> Claim | None:
        send = super().put
        return self._if_known(lambda: send(key, block, about, marks, new=new))

    def part(self, key: str, upload: str, number: int, block: Block, cancel: Cancel) -> tuple[str, Claim | None]:
        """A part without a checksum is verified by its ETag, which requires its MD5. The signature then covers the MD5
        too, so that client and server compute only one digest each."""
        send = super().part
        block.by_md5 = self._by_md5 and upload not in self._summed
        try:
            return send(key, upload, number, block, cancel)
        except Refused as error:
            if not block.by_md5 or error.code not in _NOT_KNOWN:
                raise
        block.by_md5 = False
        sent = send(key, upload, number, block, cancel)
        self._by_md5 = False
        return sent

    def begin(self, key: str, about: About, marks: Marks) -> str:
        send = super().begin
        return self._if_known(lambda: send(key, about, marks))

    def head(self, key: str) -> Head | None:
        return self._if_known(lambda: self._head(key, {"x-amz-checksum-mode": "ENABLED"} if self._sums else {}))

    def upload_headers(self) -> dict[str, str]:
        return {ALGORITHM: "SHA256"} if self._sums else {}

    def upload_begun(self, upload: str, response: Response) -> None:
        if response.headers.get(ALGORITHM) == "SHA256":  # else the server ignored the header
            self._summed.add(upload)

    def checksum_headers(self, upload: str | None, block: Block) -> dict[str, str]:
        wanted = self._sums if upload is None else upload in self._summed
        return {CHECKSUM: base64.b64encode(block.digest(SHA256)).decode()} if wanted else {}

    def checksum_line(self, upload: str, part: Part) -> str:
        if upload not in self._summed:
            return ""
        return f"<ChecksumSHA256>{base64.b64encode(part.digests[SHA256]).decode()}</ChecksumSHA256>"

    def upload_ended(self, upload: str) -> None:
        self._summed.discard(upload)

    def _if_known(self, send: Callable[[], T]) -> T:
        """Send with checksums; if that is rejected, retry without, and omit them from then on if that succeeds."""
        try:
            return send()
        except Refused as error:
            if not self._sums or error.code not in _NOT_KNOWN:
                raise
        self._sums = False
        try:
            return send()
        except BaseException:
            self._sums = True
            raise

    # -- signing ---------------------------------------------------------------------------------------------------

    def sign(self, request: Request) -> dict[str, str]:
        headers = {"host": request.host, **request.headers}
        return signed_headers(
            self._credentials(),
            self._region,
            request.method,
            request.path,
            request.query,
            headers,
            request.payload_sha256,
            self._clock(),
        )

    def sign_url(self, request: Request, expires_s: int) -> tuple[str, float]:
        credentials, now = self._credentials(), self._clock()
        query = presigned_query(credentials, self._region, request.host, request.path, request.query, expires_s, now)
        # A URL signed by temporary credentials expires with them.
        works_s = expires_s if credentials.expires_at is None else min(expires_s, credentials.expires_at - now)
        return query, works_s


def _credentials(options: S3Options) -> Callable[[], Credentials]:
    """The credentials in the settings, else the AWS SDK's; called before each request, as temporary ones expire."""
    if options.access_key_id and options.secret_access_key:
        token = value_of(options.session_token)
        credentials = Credentials(options.access_key_id, options.secret_access_key.value, token)
        return lambda: credentials
    from fluxport.sinks._aws import sdk_credentials

    return sdk_credentials(options.profile)
