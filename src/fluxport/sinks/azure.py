"""Objects in Azure Blob Storage: block blobs, whose blocks become visible when a block list commits them.

Requests are signed with the account's key, carry a shared access signature, or a token of Azure's own credentials:
managed identity, workload identity, the Azure CLI. Uncommitted blocks are invisible, cannot be listed as uploads, and
are deleted by Azure after a week.
"""

from __future__ import annotations

import base64
import hmac
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlencode

from fluxport.errors import Refused
from fluxport.headers import content_disposition
from fluxport.outbound import Cancel
from fluxport.settings import Secret, setting
from fluxport.sinks._http import Http, Response
from fluxport.sinks._sums import Block, Claim, from_base64, of_parts
from fluxport.sinks.object_options import ObjectOptions
from fluxport.sinks.objects import MARK, Head, Marks, ObjectSink, Part, Unfinished, check_range, refused
from fluxport.sinks.options import value_of
from fluxport.stages import About, Chunks, SignedUrl

VERSION = "2020-12-06"  # of the service's API; Azurite and every current Azure Stack Hub support it
TOKEN_SCOPE = "https://storage.azure.com/.default"  # noqa: S105  a name
DELEGATION_MAX_S = 604_800.0
SKEW_S = 300.0  # tolerated clock skew

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class AzureOptions(ObjectOptions):
    """``endpoint`` is the account's: https://ACCOUNT.blob.core.windows.net by default."""

    environ: ClassVar[Mapping[str, str]] = {
        "AZURE_STORAGE_CONTAINER": "bucket",
        "AZURE_STORAGE_ACCOUNT": "account",
        "AZURE_STORAGE_KEY": "account_key",
    }

    type: Literal["azure"] = "azure"
    account: str | None = setting(None, pattern=r"^[a-z0-9-]{1,64}$", description="the storage account")
    account_key: Secret | None = setting(None, description="its key; default: managed or workload identity")
    sas_token: Secret | None = setting(None, description="a shared access signature instead of a key")
    tags: dict[str, str] = setting({}, max_length=9, description="tags of every object")

    def __post_init__(self) -> None:
        if not (self.account or self.endpoint):
            raise ValueError("a store of type azure needs an 'account'")


class AzureSink(ObjectSink):
    def __init__(self, options: AzureOptions, *, overwrite: bool = False) -> None:
        super().__init__(AzureApi(options), options, overwrite=overwrite)


@dataclass(frozen=True)
class DelegationKey:
    """A key for signing URLs that Azure issues to the bearer of a token; valid for a week at most."""

    fields: Mapping[str, str]
    value: str = field(repr=False)
    expires_at: float


class AzureApi:
    """The REST API of block blobs."""

    parts_max = 50_000
    crc: str | None = None
    etags_are_md5 = True

    def __init__(self, options: AzureOptions) -> None:
        self._options = options
        endpoint = (options.endpoint or f"https://{options.account}.blob.core.windows.net").rstrip("/")
        self._public = (options.public_endpoint or endpoint).rstrip("/")
        self._http = Http(endpoint, options)
        self._account = options.account or self._http.host.partition(".")[0]
        self._key = None if options.account_key is None else _decoded(options.account_key.value)
        self._sas = (value_of(options.sas_token) or "").removeprefix("?")
        self._tokens = _Tokens() if self._key is None and not self._sas else None
        self._clock = time.time
        self._delegated: DelegationKey | None = None
        self._lock = threading.Lock()

    def location(self, key: str) -> str:
        return f"az://{self._options.bucket}/{key}"

    # -- writing ---------------------------------------------------------------------------------------------------

    def put(self, key: str, block: Block, about: About, marks: Marks, *, new: bool) -> Claim | None:
        headers = {"x-ms-blob-type": "BlockBlob", **self._described(about, marks, new), **block.content_md5()}
        return _claim(self._call("PUT", key, headers=headers, body=block.data, known=(201,)))

    def begin(self, key: str, about: About, marks: Marks) -> str:
        """Blocks belong to a blob name, not to an upload: the mark is part of their ids, to identify this upload's."""
        return marks[MARK]

    def part(self, key: str, upload: str, number: int, block: Block, cancel: Cancel) -> tuple[str, Claim | None]:
        name = base64.b64encode(f"{upload}-{number:06}".encode()).decode()
        query = [("blockid", name), ("comp", "block")]
        return name, _claim(self._call("PUT", key, query, block.content_md5(), block.data, known=(201,), cancel=cancel))

    def complete(
        self, key: str, upload: str, parts: list[Part], about: About, marks: Marks, *, new: bool
    ) -> Claim | None:
        """Azure computes no digest of a whole blob, but lists its blocks, which are compared with ours."""
        blocks = "".join(f"<Uncommitted>{part.tag}</Uncommitted>" for part in parts)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'.encode()
        headers = {"content-type": "application/xml", **self._described(about, marks, new)}
        self._call("PUT", key, [("comp", "blocklist")], headers, body, known=(201,))
        known = {(part.tag, str(part.size_bytes)): part.digests["md5"] for part in parts}
        stored = self._call("GET", key, [("blocklisttype", "committed"), ("comp", "blocklist")]).xml().iter("Block")
        listed = [known.get((one.findtext("Name") or "", one.findtext("Size") or ""), b"") for one in stored]
        return Claim("md5", of_parts("md5", listed), parts=True)

    def abort(self, key: str, upload: str) -> None:
        """Nothing to do: Azure deletes uncommitted blocks."""

    def delete(self, key: str) -> None:
        self._call("DELETE", key, known=(202, 404))

    def _described(self, about: About, marks: Marks, new: bool) -> dict[str, str]:
        options = self._options
        own = {
            "x-ms-blob-content-type": about.media_type,
            "x-ms-blob-content-disposition": about.filename and content_disposition(about.filename),
            "x-ms-access-tier": options.storage_class,
            "x-ms-encryption-scope": options.kms_key_id,
            "x-ms-tags": urlencode(options.tags) or None,
            "if-none-match": "*" if new else None,
        }
        headers = {name: value for name, value in own.items() if value}
        return headers | {f"x-ms-meta-{name}": value for name, value in marks.items()}

    # -- reading ---------------------------------------------------------------------------------------------------

    def head(self, key: str) -> Head | None:
        response = self._call("HEAD", key, known=(200, 404))
        if response.status == 404:
            return None
        return Head(
            int(response.headers.get("content-length", "-1")),
            response.headers.get("etag", ""),
            {k.removeprefix("x-ms-meta-"): v for k, v in response.headers.items() if k.startswith("x-ms-meta-")},
            _claim(response),
        )

    def get(self, key: str, start: int, end: int, etag: str) -> Chunks:
        path, wanted = self._path(key), {"range": f"bytes={start}-{end - 1}", "if-match": etag}
        target = path + (f"?{self._sas}" if self._sas else "")
        response, chunks = self._http.stream(target, lambda: self._signed("GET", path, (), wanted, 0))
        check_range(self._http.host, response, start)
        return chunks

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        return iter(())

    def older(self, prefix: str, before: float) -> Iterator[str]:
        marker = ""
        while True:
            query = [("comp", "list"), ("marker", marker), ("prefix", prefix), ("restype", "container")]
            listing = self._call("GET", None, [(k, v) for k, v in query if v]).xml()
            for blob in listing.iter("Blob"):
                changed = parsedate_to_datetime(blob.findtext("Properties/Last-Modified") or "").timestamp()
                if changed < before:
                    yield blob.findtext("Name") or ""
            if not (marker := listing.findtext("NextMarker") or ""):
                return

    # -- presigned URLs --------------------------------------------------------------------------------------------

    def url(self, key: str, expires_s: float, about: About | None) -> SignedUrl | None:
        """None with a shared access signature, which would grant all its permissions to the recipient."""
        if self._sas:
            return None
        now = self._clock()
        delegated = None
        if self._key is None:
            expires_s = min(expires_s, DELEGATION_MAX_S)
            delegated = self._delegation(now, expires_s)
            expires_s = min(expires_s, delegated.expires_at - now)
        query = self._shared(key, now, expires_s, about, delegated)
        return SignedUrl(f"{self._public}{self._path(key, root='')}?{urlencode(query)}", expires_s)

    def _shared(
        self, key: str, now: float, expires_s: float, about: About | None, delegated: DelegationKey | None
    ) -> dict[str, str]:
        """The query of a service SAS with the account's key, or of a user delegation SAS, to read one blob."""
        fields = {
            "sp": "r",
            "st": _timestamp(now - SKEW_S),
            "se": _timestamp(now + expires_s),
            "sv": VERSION,
            "sr": "b",
            "rscd": content_disposition(about.filename) if about is not None and about.filename else "",
            "rsct": about.media_type if about is not None else "",
        }
        resource = f"/blob/{self._account}/{self._options.bucket}/{key}"
        names = ("rscc", "rscd", "rsce", "rscl", "rsct")
        secret = self._key or b""
        identity = [""]  # the stored policy
        if delegated is not None:
            fields |= delegated.fields
            secret = _decoded(delegated.value)
            signer = ("skoid", "sktid", "skt", "ske", "sks", "skv")
            identity = [*(delegated.fields[name] for name in signer), "", "", ""]
        lines = [fields["sp"], fields["st"], fields["se"], resource, *identity, "", "", VERSION, "b", "", ""]
        text = "\n".join([*lines, *(fields.get(name, "") for name in names)])
        signature = base64.b64encode(hmac.new(secret, text.encode(), "sha256").digest()).decode()
        return {name: value for name, value in fields.items() if value} | {"sig": signature}

    def _delegation(self, now: float, expires_s: float) -> DelegationKey:
        """A key valid for long enough; a new one is requested when the current one is about to expire."""
        with self._lock:
            key = self._delegated
            if key is None or key.expires_at < now + min(expires_s, DELEGATION_MAX_S / 2):
                key = self._delegated = self._new_delegation(now)
            return key

    def _new_delegation(self, now: float) -> DelegationKey:
        until = now + DELEGATION_MAX_S
        body = f"<KeyInfo><Start>{_timestamp(now)}</Start><Expiry>{_timestamp(until)}</Expiry></KeyInfo>".encode()
        query = [("comp", "userdelegationkey"), ("restype", "service")]
        path = f"{self._http.path}/"
        target = f"{path}?{urlencode(query)}"
        response = self._http.request("POST", target, lambda: self._signed("POST", path, query, {}, len(body)), body)
        if response.status != 200:
            raise refused(self._http.host, response)
        document = response.xml()
        names = {"skoid": "SignedOid", "sktid": "SignedTid", "skt": "SignedStart", "ske": "SignedExpiry",
                 "sks": "SignedService", "skv": "SignedVersion"}  # fmt: skip
        fields = {short: document.findtext(name) or "" for short, name in names.items()}
        return DelegationKey(fields, document.findtext("Value") or "", until)

    # -- requests --------------------------------------------------------------------------------------------------

    def _path(self, key: str | None, root: str | None = None) -> str:
        path = f"{self._http.path if root is None else root}/{self._options.bucket}"
        return path if key is None else f"{path}/{quote(key, safe='/~')}"

    def _call(
        self,
        method: str,
        key: str | None,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview = b"",
        *,
        known: tuple[int, ...] = (200,),
        cancel: Cancel | None = None,
    ) -> Response:
        """The store's response if its status is in ``known``; else raises the error that it stands for."""
        path = self._path(key)
        text = "&".join(part for part in (urlencode(query), self._sas) if part)
        response = self._http.request(
            method,
            f"{path}?{text}" if text else path,
            lambda: self._signed(method, path, query, headers or {}, len(body)),
            body,
            cancel=cancel,
        )
        if response.status not in known:
            raise refused(self._http.host, response)
        return response

    def _signed(self, method: str, path: str, query: Query, headers: Mapping[str, str], length: int) -> dict[str, str]:
        """Headers with a Shared Key signature or a bearer token; none if the query has a SAS."""
        own = {
            "host": self._http.authority,
            "x-ms-version": VERSION,
            "x-ms-date": formatdate(self._clock(), usegmt=True),
            **headers,
        }
        if self._tokens is not None:
            return own | {"authorization": f"Bearer {self._tokens.current()}"}
        if self._key is None:
            return own
        named = ("content-md5", "content-type", "date", "if-modified-since", "if-match", "if-none-match")
        standard = [method, "", "", str(length) if length else "", *(own.get(name, "") for name in named)]
        special = "".join(f"{name}:{own[name]}\n" for name in sorted(own) if name.startswith("x-ms-"))
        resource = f"/{self._account}{path}" + "".join(f"\n{name}:{value}" for name, value in sorted(query))
        text = "\n".join([*standard, "", own.get("range", ""), special + resource])
        signature = base64.b64encode(hmac.new(self._key, text.encode(), "sha256").digest()).decode()
        return own | {"authorization": f"SharedKey {self._account}:{signature}"}


class _Tokens:
    """Tokens from Azure's credential library, which renews them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._credential: Any = None

    def current(self) -> str:
        with self._lock:
            try:
                from azure.core.exceptions import ClientAuthenticationError
                from azure.identity import DefaultAzureCredential
            except ImportError:
                raise Refused(
                    "The store has no account_key or sas_token, and Azure's other credentials need its library: "
                    "pip install 'fluxport[azure]'.",
                    code="missing_extra",
                ) from None
            if self._credential is None:
                self._credential = DefaultAzureCredential()
            try:
                return str(self._credential.get_token(TOKEN_SCOPE).token)
            except ClientAuthenticationError as error:
                raise Refused(
                    "No working Azure credentials: set account_key of the store, or give this machine a "
                    "managed identity.",
                    code="no_credentials",
                    detail=str(error),
                ) from error


def _decoded(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except ValueError:
        raise Refused(
            "The key of the Azure account is invalid; it must be base64 text.", code="bad_configuration"
        ) from None


def _claim(response: Response) -> Claim | None:
    """Azure computes the MD5 of every body; its ETags do not depend on the bytes."""
    return from_base64("md5", response.headers.get("content-md5"))


def _timestamp(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
