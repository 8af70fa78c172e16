"""Objects in S3, and in what speaks its protocol: Ceph, MinIO, Cloudflare R2, Wasabi and others.

Every request carries the SHA-256 of its body in its signature, which the store checks before it takes it, and as a
checksum that it keeps and tells, where it knows those: a server that refuses them is asked without. Parts of a server
that knows none carry their MD5 instead, which the signature covers.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeVar

from fluxport.errors import Refused
from fluxport.outbound import Cancel
from fluxport.settings import Secret, setting
from fluxport.sinks._http import Answer
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
# What a server says to a header that it does not know; Amazon itself wants kms:Decrypt for telling a checksum.
_NOT_KNOWN = ("store_refused", "store_denied")


@dataclass(frozen=True, kw_only=True)
class S3Options(KeyedOptions):
    """Without ``endpoint`` the store is Amazon's of the region, where buckets are part of the host's name; elsewhere
    they are part of the path, unless ``path_style`` says otherwise."""

    environ: ClassVar[Mapping[str, str]] = {
        "S3_BUCKET": "bucket",
        "S3_ENDPOINT": "endpoint",
        "S3_PATH_STYLE": "path_style",
        "AWS_REGION": "region",
    }

    type: Literal["s3"] = "s3"
    region: str | None = setting(None, description="the bucket's region; default: us-east-1, or AWS_REGION")
    path_style: bool | None = setting(
        None, description="the bucket is part of the path; default: at an endpoint of your own"
    )
    session_token: Secret | None = setting(None, description="the token of temporary keys (STS)")
    profile: str | None = setting(None, description="the profile of ~/.aws that the credentials are of")
    encryption: str | None = setting(None, description="AES256, aws:kms or aws:kms:dsse; default: the bucket's")
    tags: dict[str, str] = setting({}, max_length=9, description="tags of every object")

    def completed(self, environ: Mapping[str, str]) -> S3Options:
        """Region, endpoint and key as Amazon's own tools take them from the environment."""
        region = self.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        endpoint = self.endpoint or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None
        found = replace(self, region=region, endpoint=endpoint)
        key, value = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        if self.access_key_id is not None or self.profile is not None or not key or not value:
            return found
        token = secret(environ.get("AWS_SESSION_TOKEN"))
        return replace(found, access_key_id=key, secret_access_key=Secret(value), session_token=token)


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
        kept = {
            "storage-class": options.storage_class,
            "server-side-encryption": options.encryption,
            "server-side-encryption-aws-kms-key-id": options.kms_key_id,
        }
        place = Place("s3", options.bucket, endpoint, options.public_endpoint or endpoint, path_style)
        super().__init__(place, options, kept, options.tags)
        self._credentials = _credentials(options)
        self._region = region
        self._sums = True  # whether the server takes headers about checksums
        self._summed: set[str] = set()  # uploads of which each part has a checksum
        self._by_md5 = True  # whether the server takes parts whose signature holds their MD5 alone

    # -- checksums -------------------------------------------------------------------------------------------------

    def checked(self, block: Block) -> dict[str, str]:
        return block.content_md5() if block.by_md5 else {}

    def claim(self, headers: Mapping[str, str]) -> Claim | None:
        if (found := from_base64(SHA256, headers.get(CHECKSUM))) is not None:
            return found
        own_key = "x-amz-server-side-encryption-customer-algorithm" in headers
        if own_key or headers.get("x-amz-server-side-encryption", "").startswith("aws:kms"):
            return None  # the ETag is no MD5 then
        return from_etag(headers)

    def put(self, key: str, block: Block, about: About, marks: Marks, *, new: bool) -> Claim | None:
        ask = super().put
        return self._if_known(lambda: ask(key, block, about, marks, new=new))

    def part(self, key: str, upload: str, number: int, block: Block, cancel: Cancel) -> tuple[str, Claim | None]:
        """A part without a checksum is compared by its ETag, for which its MD5 is computed: that is what its signature
        holds then, so that there is one digest to compute here, and one there."""
        ask = super().part
        block.by_md5 = self._by_md5 and upload not in self._summed
        try:
            return ask(key, upload, number, block, cancel)
        except Refused as error:
            if not block.by_md5 or error.code not in _NOT_KNOWN:
                raise
        self._by_md5 = block.by_md5 = False
        return ask(key, upload, number, block, cancel)

    def begin(self, key: str, about: About, marks: Marks) -> str:
        ask = super().begin
        return self._if_known(lambda: ask(key, about, marks))

    def head(self, key: str) -> Head | None:
        return self._if_known(lambda: self._head(key, {"x-amz-checksum-mode": "ENABLED"} if self._sums else {}))

    def promised(self) -> dict[str, str]:
        return {ALGORITHM: "SHA256"} if self._sums else {}

    def begun(self, upload: str, answer: Answer) -> None:
        if answer.headers.get(ALGORITHM) == "SHA256":  # else the server has not looked at the header
            self._summed.add(upload)

    def summed(self, upload: str | None, block: Block) -> dict[str, str]:
        wanted = self._sums if upload is None else upload in self._summed
        return {CHECKSUM: base64.b64encode(block.digest(SHA256)).decode()} if wanted else {}

    def listed(self, upload: str, part: Part) -> str:
        if upload not in self._summed:
            return ""
        return f"<ChecksumSHA256>{base64.b64encode(part.digests[SHA256]).decode()}</ChecksumSHA256>"

    def ended(self, upload: str) -> None:
        self._summed.discard(upload)

    def _if_known(self, ask: Callable[[], T]) -> T:
        """Ask with checksums; where that is refused ask without, and from then on if that is taken."""
        try:
            return ask()
        except Refused as error:
            if not self._sums or error.code not in _NOT_KNOWN:
                raise
        self._sums = False
        try:
            return ask()
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
        # Temporary credentials take every URL with them when they end.
        works_s = expires_s if credentials.expires_at is None else min(expires_s, credentials.expires_at - now)
        return query, works_s


def _credentials(options: S3Options) -> Callable[[], Credentials]:
    """Those of the settings, else whatever the AWS SDK finds; asked before each request, as temporary ones end."""
    if options.access_key_id and options.secret_access_key:
        given = Credentials(options.access_key_id, options.secret_access_key.value, value_of(options.session_token))
        return lambda: given
    from fluxport.sinks._aws import sdk_credentials

    return sdk_credentials(options.profile)
